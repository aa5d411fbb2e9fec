// The C face of Dear ImGui 1.86: thin, without any knowledge of services.
//
// Why a face of our own: Debian's package has no C binding, and ImGui's types are C++. Invariants:
// no exception and no ImGui type leaves this file; every call is on the frame thread; what a caller
// passes is copied or used at once.
//
// Version 1.86 has no input queue (1.87 brought it) and looks at modifiers late, hence chords and
// typed characters are kept here by symbol. InvisibleButton is skipped by keyboard navigation,
// hence gui_hit(). A child window swallows the arrow keys unless it is NavFlattened, a table's
// inner window too, hence flatten().
#include "monitor/gui.h"

#include <SDL2/SDL.h>
#include <backends/imgui_impl_opengl3.h>
#include <backends/imgui_impl_sdl.h>
#include <imgui.h>
#include <imgui_freetype.h>
#include <imgui_internal.h>
#include <unistd.h>

#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <vector>

static const size_t RECORD_MAX = 20000;

static float scale_now = 1.0F;
static ImFont *fonts[GUI_FONT_MAX];
static bool record_on;
static std::vector<GuiRecord> record_now, record_last;
static char chord_now;
static bool nav_restart_wanted;
static SDL_Renderer *soft_renderer;
static SDL_Texture *soft_fonts;

static inline ImVec2 to_im(GuiVec v)
{
    return ImVec2(v.x, v.y);
}

static inline GuiVec from_im(ImVec2 v)
{
    return gui_vec(v.x, v.y);
}

static inline ImDrawList *canvas()
{
    return ImGui::GetWindowDrawList();
}

// ---- record ----

static void copy_text(char *to, size_t size, const char *from)
{
    snprintf(to, size, "%.*s", (int)size - 1, from ? from : "");
}

static void record(const char *id, const char *text, ImVec2 a, ImVec2 b)
{
    if (!record_on || record_now.size() >= RECORD_MAX)
        return;
    ImGuiWindow *w = ImGui::GetCurrentWindowRead();
    GuiRecord r;
    copy_text(r.id, sizeof r.id, id);
    copy_text(r.text, sizeof r.text, text);
    r.rect = {a.x, a.y, b.x, b.y};
    r.visible = w && !w->SkipItems && w->ClipRect.Overlaps(ImRect(a, b));
    record_now.push_back(r);
}

static void record_item(const char *id, const char *text)
{
    record(id, text, ImGui::GetItemRectMin(), ImGui::GetItemRectMax());
}

void gui_record_enable(bool on)
{
    record_on = on;
}

bool gui_record_is_on(void)
{
    return record_on;
}

void gui_mark(const char *id, const char *text, GuiRect r)
{
    record(id, text, ImVec2(r.x0, r.y0), ImVec2(r.x1, r.y1));
}

int gui_record_count(void)
{
    return (int)record_last.size();
}

const GuiRecord *gui_record_at(int index)
{
    return &record_last[(size_t)index];
}

const GuiRecord *gui_record_find(const char *id)
{
    for (const GuiRecord &r : record_last)
        if (r.visible && strcmp(r.id, id) == 0)
            return &r;
    return nullptr;
}

bool gui_record_has_text(const char *needle)
{
    for (const GuiRecord &r : record_last)
        if (r.visible && strstr(r.text, needle))
            return true;
    return false;
}

// ---- fonts and style ----

static ImFont *font_load(const char *const *paths, float px, const ImWchar *ranges, float icon_px)
{
    static const char icons[] = "/usr/share/fonts/truetype/font-awesome/fontawesome-webfont.ttf";
    static const ImWchar icon_range[] = {0xF000, 0xF2E0, 0};
    ImGuiIO &io = ImGui::GetIO();
    ImFont *font = nullptr;

    for (; *paths && !font; paths++) {
        if (access(*paths, R_OK) != 0)
            continue;
        ImFontConfig config;
        config.FontBuilderFlags = ImGuiFreeTypeBuilderFlags_LightHinting;
        font = io.Fonts->AddFontFromFileTTF(*paths, px, &config, ranges);
    }
    if (!font) {
        ImFontConfig config;
        config.SizePixels = px;
        font = io.Fonts->AddFontDefault(&config);
    }
    if (icon_px > 0 && access(icons, R_OK) == 0) {
        ImFontConfig config;
        config.MergeMode = true;
        config.PixelSnapH = true;
        config.GlyphMinAdvanceX = icon_px * 1.25F;
        config.FontBuilderFlags = ImGuiFreeTypeBuilderFlags_LightHinting;
        config.GlyphOffset.y = px * 0.02F;
        io.Fonts->AddFontFromFileTTF(icons, icon_px, &config, icon_range);
    }
    return font;
}

static void fonts_load(float scale)
{
    static const ImWchar wide[] = {0x20,   0x24F,  0x370,  0x3FF,  0x400,  0x4FF,  0x1E00, 0x1EFF,
                                   0x2010, 0x2027, 0x2030, 0x205E, 0x20A0, 0x20BF, 0x2190, 0x21FF,
                                   0x2200, 0x22FF, 0x25A0, 0x25FF, 0xFFFD, 0xFFFD, 0};
    static const ImWchar latin[] = {0x20,   0x24F,  0x370,  0x3FF,  0x400,  0x4FF,
                                    0x2010, 0x2027, 0x2030, 0x205E, 0x2190, 0x21FF,
                                    0x2212, 0x2212, 0xFFFD, 0xFFFD, 0};
    static const ImWchar narrow[] = {0x20, 0x24F, 0x2010, 0x2027, 0xFFFD, 0xFFFD, 0};
#define INTER  "/usr/share/fonts/opentype/inter/"
#define DEJAVU "/usr/share/fonts/truetype/dejavu/"
    static const char *const body[] = {INTER "Inter-Regular.otf", DEJAVU "DejaVuSans.ttf", nullptr};
    static const char *const bold[] = {INTER "Inter-SemiBold.otf", DEJAVU "DejaVuSans-Bold.ttf",
                                       nullptr};
    static const char *const big[] = {INTER "InterDisplay-SemiBold.otf", INTER "Inter-SemiBold.otf",
                                      DEJAVU "DejaVuSans-Bold.ttf", nullptr};
    static const char *const mono[] = {
        "/usr/share/fonts/truetype/jetbrains-mono/JetBrainsMono-Regular.ttf",
        DEJAVU "DejaVuSansMono.ttf", nullptr};
    ImGuiIO &io = ImGui::GetIO();
    auto px = [&](float v) { return floorf(v * scale + 0.5F); };

    io.Fonts->Clear();
    io.Fonts->FontBuilderIO = ImGuiFreeType::GetBuilderForFreeType();
    io.Fonts->TexGlyphPadding = 1;
    fonts[GUI_FONT_BODY] = font_load(body, px(15), wide, px(14));
    fonts[GUI_FONT_SMALL] = font_load(body, px(12.5F), latin, px(12));
    fonts[GUI_FONT_BOLD] = font_load(bold, px(15), latin, px(14));
    fonts[GUI_FONT_TITLE] = font_load(big, px(22), latin, 0);
    fonts[GUI_FONT_HUGE] = font_load(big, px(30), narrow, 0);
    fonts[GUI_FONT_MONO] = font_load(mono, px(13), latin, 0);
    fonts[GUI_FONT_ICON] = font_load(big, px(16), narrow, px(40));
}

static void style_metrics(ImGuiStyle &s, float scale)
{
    s.WindowRounding = s.ChildRounding = s.PopupRounding = 10;
    s.FrameRounding = s.TabRounding = 7;
    s.GrabRounding = s.ScrollbarRounding = 6;
    s.ScrollbarSize = 11;
    s.WindowPadding = ImVec2(16, 14);
    s.FramePadding = ImVec2(11, 7);
    s.ItemSpacing = ImVec2(9, 8);
    s.ItemInnerSpacing = ImVec2(8, 5);
    s.CellPadding = ImVec2(10, 8);
    s.IndentSpacing = 18;
    s.DisabledAlpha = 0.5F;
    s.CircleTessellationMaxError = 0.15F;
    s.CurveTessellationTol = 0.8F;
    s.ScaleAllSizes(scale);
    s.WindowBorderSize = s.ChildBorderSize = s.PopupBorderSize = s.FrameBorderSize = 1;
}

static void style_colors(ImGuiStyle &s, const GuiStyle &g)
{
    auto set = [&](int i, uint32_t rgb, float alpha = 1) {
        s.Colors[i] = ImVec4((float)(rgb >> 16 & 255) / 255.F, (float)(rgb >> 8 & 255) / 255.F,
                             (float)(rgb & 255) / 255.F, alpha);
    };
    g.dark ? ImGui::StyleColorsDark(&s) : ImGui::StyleColorsLight(&s);
    set(ImGuiCol_Text, g.text);
    set(ImGuiCol_TextDisabled, g.faint);
    set(ImGuiCol_WindowBg, g.background);
    set(ImGuiCol_ChildBg, g.card);
    set(ImGuiCol_PopupBg, g.popup, 0.99F);
    set(ImGuiCol_Border, g.line);
    set(ImGuiCol_BorderShadow, 0, 0);
    set(ImGuiCol_FrameBg, g.field);
    set(ImGuiCol_FrameBgHovered, g.hover);
    set(ImGuiCol_FrameBgActive, g.active);
    set(ImGuiCol_Button, g.hover);
    set(ImGuiCol_ButtonHovered, g.active);
    set(ImGuiCol_ButtonActive, g.line);
    set(ImGuiCol_Header, g.accent, 0.16F);
    set(ImGuiCol_HeaderHovered, g.accent, 0.09F);
    set(ImGuiCol_HeaderActive, g.accent, 0.20F);
    set(ImGuiCol_Separator, g.line);
    set(ImGuiCol_ScrollbarBg, 0, 0);
    set(ImGuiCol_ScrollbarGrab, g.active);
    set(ImGuiCol_ScrollbarGrabHovered, g.faint, 0.7F);
    set(ImGuiCol_ScrollbarGrabActive, g.faint);
    set(ImGuiCol_CheckMark, g.accent);
    set(ImGuiCol_TableHeaderBg, g.card);
    set(ImGuiCol_TableBorderStrong, g.line);
    set(ImGuiCol_TableBorderLight, g.line_soft);
    set(ImGuiCol_TableRowBg, 0, 0);
    set(ImGuiCol_TableRowBgAlt, g.dark ? 0xFFFFFF : 0x000000, 0.02F);
    set(ImGuiCol_TextSelectedBg, g.accent, 0.35F);
    set(ImGuiCol_NavHighlight, g.accent);
    set(ImGuiCol_ModalWindowDimBg, 0x05070A, g.dark ? 0.62F : 0.35F);
}

void gui_restyle(float scale, const GuiStyle *style)
{
    if (fonts[0] == nullptr || scale != scale_now)
        fonts_load(scale);
    scale_now = scale;
    ImGui::GetStyle() = ImGuiStyle();
    style_metrics(ImGui::GetStyle(), scale);
    style_colors(ImGui::GetStyle(), *style);
}

// ---- life ----

void gui_init(float scale, const GuiStyle *style)
{
    IMGUI_CHECKVERSION();
    ImGui::CreateContext();
    ImGuiIO &io = ImGui::GetIO();
    io.ConfigFlags |= ImGuiConfigFlags_NavEnableKeyboard;
    io.ConfigInputTextCursorBlink = false; // a blinking caret would redraw twice a second
    io.IniFilename = nullptr;
    io.LogFilename = nullptr;
    gui_restyle(scale, style);
}

void gui_shutdown(void)
{
    ImGui::DestroyContext();
    std::vector<GuiRecord>().swap(record_now);
    std::vector<GuiRecord>().swap(record_last);
    memset(fonts, 0, sizeof fonts);
}

float gui_px(float logical)
{
    return logical * scale_now;
}

void gui_frame_begin(void)
{
    record_last.swap(record_now);
    record_now.clear();
    ImGui::NewFrame();
}

void gui_frame_end(void)
{
    ImGui::Render();
    chord_now = 0;
}

// Four lanes that do not wait for each other: a picture is up to a megabyte of vertices.
struct FrameHash {
    uint64_t lane[4] = {0x9E3779B97F4A7C15ULL, 0xC2B2AE3D27D4EB4FULL, 0x165667B19E3779F9ULL,
                        0x27D4EB2F165667C5ULL};

    void mix(const void *data, size_t len)
    {
        const unsigned char *p = (const unsigned char *)data;
        uint64_t word[4];

        for (; len >= sizeof word; len -= sizeof word, p += sizeof word) {
            memcpy(word, p, sizeof word);
            for (int i = 0; i < 4; i++) {
                lane[i] = (lane[i] ^ word[i]) * 0x9E3779B97F4A7C15ULL;
                lane[i] ^= lane[i] >> 29;
            }
        }
        for (; len > 0; len--)
            lane[0] = (lane[0] ^ *p++) * 1099511628211ULL;
    }

    uint64_t sum() const
    {
        uint64_t h = 0;

        for (uint64_t l : lane)
            h = (h ^ l ^ l >> 32) * 0xC2B2AE3D27D4EB4FULL;
        return h;
    }
};

uint64_t gui_frame_hash(void)
{
    const ImDrawData *d = ImGui::GetDrawData();
    FrameHash h;

    h.mix(&d->DisplaySize, sizeof d->DisplaySize);
    for (int i = 0; i < d->CmdListsCount; i++) {
        const ImDrawList *l = d->CmdLists[i];
        h.mix(l->VtxBuffer.Data, (size_t)l->VtxBuffer.Size * sizeof(ImDrawVert));
        h.mix(l->IdxBuffer.Data, (size_t)l->IdxBuffer.Size * sizeof(ImDrawIdx));
        for (const ImDrawCmd &c : l->CmdBuffer) {
            h.mix(&c.ClipRect, sizeof c.ClipRect);
            h.mix(&c.ElemCount, sizeof c.ElemCount);
        }
    }
    return h.sum();
}

// ---- input ----

static const int key_map[GUI_KEY_MAX] = {
    ImGuiKey_Tab,   ImGuiKey_LeftArrow, ImGuiKey_RightArrow, ImGuiKey_UpArrow, ImGuiKey_DownArrow,
    ImGuiKey_Enter, ImGuiKey_Escape,    ImGuiKey_Backspace,  ImGuiKey_Space,   ImGuiKey_Home,
    ImGuiKey_End,   ImGuiKey_PageUp,    ImGuiKey_PageDown,   ImGuiKey_Delete,
};
static const int HEADLESS_KEYS = 400; // our place in ImGui's array of native keys

void gui_headless_init(float width, float height)
{
    ImGuiIO &io = ImGui::GetIO();
    io.DisplaySize = ImVec2(width, height);
    io.DeltaTime = 1 / 60.F;
    io.MousePos = ImVec2(-1, -1);
    for (int i = 0; i < GUI_KEY_MAX; i++)
        io.KeyMap[key_map[i]] = HEADLESS_KEYS + i;
    static char clipboard[65536];
    io.ClipboardUserData = clipboard;
    io.SetClipboardTextFn = [](void *to, const char *text) {
        copy_text((char *)to, sizeof clipboard, text);
    };
    io.GetClipboardTextFn = [](void *from) { return (const char *)from; };
}

void gui_input_mouse(float x, float y)
{
    ImGui::GetIO().MousePos = ImVec2(x, y);
}

void gui_input_button(int button, bool down)
{
    ImGui::GetIO().MouseDown[button] = down;
}

void gui_input_wheel(float dy)
{
    ImGui::GetIO().MouseWheel += dy;
}

void gui_input_key(GuiKey key, bool down)
{
    ImGui::GetIO().KeysDown[HEADLESS_KEYS + key] = down;
}

void gui_input_text(const char *utf8)
{
    ImGui::GetIO().AddInputCharactersUTF8(utf8);
}

void gui_input_chord(char letter)
{
    chord_now = letter;
}

bool gui_key(GuiKey key)
{
    return ImGui::IsKeyPressed(ImGui::GetKeyIndex(key_map[key]), false);
}

bool gui_chord(char letter)
{
    return chord_now == letter;
}

uint32_t gui_typed(void)
{
    ImGuiIO &io = ImGui::GetIO();
    return io.WantTextInput || io.InputQueueCharacters.empty()
               ? 0
               : (uint32_t)io.InputQueueCharacters[0];
}

bool gui_wants_text(void)
{
    return ImGui::GetIO().WantTextInput;
}

// ---- windows and layout ----

GuiVec gui_display(void)
{
    return from_im(ImGui::GetIO().DisplaySize);
}

void gui_shell_begin(GuiColor background)
{
    ImGui::SetNextWindowPos(ImVec2(0, 0));
    ImGui::SetNextWindowSize(ImGui::GetIO().DisplaySize);
    ImGui::PushStyleColor(ImGuiCol_WindowBg, background);
    ImGui::PushStyleVar(ImGuiStyleVar_WindowPadding, ImVec2(0, 0));
    ImGui::PushStyleVar(ImGuiStyleVar_WindowRounding, 0);
    ImGui::PushStyleVar(ImGuiStyleVar_WindowBorderSize, 0);
    ImGui::Begin("shell", nullptr,
                 ImGuiWindowFlags_NoDecoration | ImGuiWindowFlags_NoMove |
                     ImGuiWindowFlags_NoSavedSettings | ImGuiWindowFlags_NoBringToFrontOnFocus |
                     ImGuiWindowFlags_NoScrollWithMouse);
    ImGui::PopStyleVar(3);
    ImGui::PopStyleColor();
    if (nav_restart_wanted && !ImGui::IsPopupOpen("", ImGuiPopupFlags_AnyPopupId)) {
        ImGui::FocusWindow(ImGui::GetCurrentWindow());
        ImGui::NavInitWindow(ImGui::GetCurrentWindow(), true);
        nav_restart_wanted = false;
    }
}

void gui_shell_end(void)
{
    ImGui::End();
}

void gui_region_begin(const char *id, GuiVec size, GuiColor background, GuiVec padding)
{
    ImGui::PushStyleColor(ImGuiCol_ChildBg, background);
    ImGui::PushStyleVar(ImGuiStyleVar_WindowPadding, to_im(padding));
    ImGui::PushStyleVar(ImGuiStyleVar_ChildRounding, 0);
    ImGui::BeginChild(id, to_im(size), false,
                      ImGuiWindowFlags_AlwaysUseWindowPadding | ImGuiWindowFlags_NavFlattened |
                          ImGuiWindowFlags_NoScrollbar | ImGuiWindowFlags_NoScrollWithMouse);
    ImGui::PopStyleVar(2);
    ImGui::PopStyleColor();
}

void gui_region_end(void)
{
    ImGui::EndChild();
}

void gui_child_begin(const char *id, GuiVec size, bool horizontal_scroll)
{
    ImGui::PushStyleColor(ImGuiCol_ChildBg, 0U);
    ImGui::BeginChild(id, to_im(size), false,
                      ImGuiWindowFlags_NavFlattened |
                          (horizontal_scroll ? ImGuiWindowFlags_HorizontalScrollbar : 0));
    ImGui::PopStyleColor();
}

void gui_child_end(void)
{
    ImGui::EndChild();
}

void gui_card_begin(const char *id, GuiVec size)
{
    ImGui::BeginChild(id, to_im(size), true,
                      ImGuiWindowFlags_NoScrollbar | ImGuiWindowFlags_NoScrollWithMouse |
                          ImGuiWindowFlags_NavFlattened);
}

void gui_card_end(void)
{
    ImGui::EndChild();
}

void gui_push_index(int index)
{
    ImGui::PushID(index);
}

void gui_pop_id(void)
{
    ImGui::PopID();
}

GuiVec gui_cursor(void)
{
    return from_im(ImGui::GetCursorScreenPos());
}

void gui_set_cursor(GuiVec position)
{
    ImGui::SetCursorScreenPos(to_im(position));
}

GuiVec gui_avail(void)
{
    return from_im(ImGui::GetContentRegionAvail());
}

void gui_same_line(float spacing)
{
    ImGui::SameLine(0, spacing);
}

void gui_align_text(void)
{
    ImGui::AlignTextToFramePadding();
}

void gui_dummy(GuiVec size)
{
    ImGui::Dummy(to_im(size));
}

void gui_space(float height)
{
    ImGui::Dummy(ImVec2(0, height));
}

GuiVec gui_scroll(void)
{
    return gui_vec(ImGui::GetScrollX(), ImGui::GetScrollY());
}

void gui_scroll_to_bottom(void)
{
    ImGui::SetScrollHereY(1);
}

float gui_line_height(void)
{
    return ImGui::GetTextLineHeight();
}

void gui_nav_restart(void)
{
    nav_restart_wanted = true;
}

void gui_nav_default(void)
{
    ImGui::SetItemDefaultFocus();
}

void gui_popup_open(const char *id)
{
    ImGui::OpenPopup(id);
}

bool gui_popup_begin(const char *id, GuiVec position, GuiVec size)
{
    ImGui::SetNextWindowPos(to_im(position));
    ImGui::SetNextWindowSize(to_im(size));
    return ImGui::BeginPopupModal(id, nullptr,
                                  ImGuiWindowFlags_NoDecoration | ImGuiWindowFlags_NoMove |
                                      ImGuiWindowFlags_NoSavedSettings);
}

void gui_popup_close(void)
{
    ImGui::CloseCurrentPopup();
}

void gui_popup_end(void)
{
    ImGui::EndPopup();
}

// ---- text ----

void gui_font_push(GuiFont font)
{
    ImGui::PushFont(fonts[font]);
}

void gui_font_pop(void)
{
    ImGui::PopFont();
}

void gui_text(GuiColor color, const char *text)
{
    ImGui::PushStyleColor(ImGuiCol_Text, color);
    ImGui::TextUnformatted(text);
    ImGui::PopStyleColor();
    record_item("", text);
}

void gui_textf(GuiColor color, const char *format, ...)
{
    char text[1024];
    va_list ap;

    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    gui_text(color, text);
}

void gui_text_wrap(GuiColor color, const char *text)
{
    ImGui::PushStyleColor(ImGuiCol_Text, color);
    ImGui::PushTextWrapPos(0);
    ImGui::TextUnformatted(text);
    ImGui::PopTextWrapPos();
    ImGui::PopStyleColor();
    record_item("", text);
}

static void tooltip_text(const char *text)
{
    gui_tooltip_begin();
    ImGui::PushTextWrapPos(gui_px(520));
    ImGui::TextUnformatted(text);
    ImGui::PopTextWrapPos();
    gui_tooltip_end();
}

void gui_text_fit(GuiColor color, const char *text)
{
    ImVec2 p = ImGui::GetCursorScreenPos(), z = ImGui::CalcTextSize(text);
    p.y +=
        ImGui::GetCurrentWindow()->DC.CurrLineTextBaseOffset; // where a button stands in the line
    float room = ImMax(ImGui::GetContentRegionAvail().x, 1.F);

    ImGui::PushStyleColor(ImGuiCol_Text, color);
    ImGui::RenderTextEllipsis(canvas(), p, ImVec2(p.x + room, p.y + z.y), p.x + room, p.x + room,
                              text, text + strlen(text), &z); // an end, or "##" would be one
    ImGui::PopStyleColor();
    ImGui::Dummy(ImVec2(ImMin(z.x, room), z.y));
    record_item("", text);
    if (z.x > room && ImGui::IsItemHovered())
        tooltip_text(text);
}

GuiVec gui_text_size(GuiFont font, const char *text)
{
    return from_im(fonts[font]->CalcTextSizeA(fonts[font]->FontSize, FLT_MAX, 0, text));
}

// ---- widgets ----

// Enter does what Space does: ImGui 1.86 keeps Enter for text fields.
static bool entered(ImGuiID id)
{
    ImGuiContext &g = *ImGui::GetCurrentContext();
    return g.NavId == id && !g.NavDisableHighlight && !g.IO.WantTextInput && g.ActiveId == 0 &&
           g.NavWindow && g.CurrentWindow->RootWindowForNav == g.NavWindow->RootWindowForNav &&
           (g.CurrentItemFlags & ImGuiItemFlags_Disabled) == 0 && gui_key(GUI_KEY_ENTER);
}

static bool button(const char *id, const char *label, GuiVec size)
{
    char full[320];

    snprintf(full, sizeof full, "%s###%s", label, id);
    bool pressed = ImGui::Button(full, to_im(size));
    pressed = entered(ImGui::GetItemID()) || pressed;
    record_item(id, label);
    return pressed;
}

bool gui_button(const char *id, const char *label, GuiVec size)
{
    return button(id, label, size);
}

bool gui_button_ghost(const char *id, const char *label, GuiVec size)
{
    ImGui::PushStyleColor(ImGuiCol_Button, 0U);
    bool pressed = button(id, label, size);
    ImGui::PopStyleColor();
    return pressed;
}

void gui_disabled_begin(bool disabled)
{
    ImGui::BeginDisabled(disabled);
}

void gui_disabled_end(void)
{
    ImGui::EndDisabled();
}

bool gui_hit(const char *id, const char *text, GuiVec size, bool *ret_hovered)
{
    ImGuiWindow *w = ImGui::GetCurrentWindow();
    bool hovered = false, held = false, pressed = false;

    if (!w->SkipItems) {
        ImGuiID key = w->GetID(id);
        ImRect box(w->DC.CursorPos, ImVec2(w->DC.CursorPos.x + size.x, w->DC.CursorPos.y + size.y));
        ImGui::ItemSize(box);
        if (ImGui::ItemAdd(box, key)) {
            pressed = ImGui::ButtonBehavior(box, key, &hovered, &held);
            pressed = entered(key) || pressed;
        }
        ImGui::RenderNavHighlight(box, key, ImGuiNavHighlightFlags_TypeThin);
        record(id, text, box.Min, box.Max);
    }
    if (ret_hovered)
        *ret_hovered = hovered;
    return pressed;
}

bool gui_checkbox(const char *id, const char *label, bool *value)
{
    char full[320];

    snprintf(full, sizeof full, "%s###%s", label, id);
    bool changed = ImGui::Checkbox(full, value);
    record_item(id, label);
    return changed;
}

bool gui_input(const char *id, const char *hint, char *text, size_t size, bool *ret_entered)
{
    char before[256], full[160];

    copy_text(before, sizeof before, text);
    snprintf(full, sizeof full, "###%s", id);
    bool enter =
        ImGui::InputTextWithHint(full, hint, text, size, ImGuiInputTextFlags_EnterReturnsTrue);
    record_item(id, text[0] ? text : hint);
    if (ret_entered)
        *ret_entered = enter;
    return strncmp(before, text, sizeof before - 1) != 0;
}

void gui_focus_next(void)
{
    ImGui::SetKeyboardFocusHere();
}

void gui_width(float width)
{
    ImGui::SetNextItemWidth(width);
}

void gui_tooltip_begin(void)
{
    ImGui::PushStyleVar(ImGuiStyleVar_WindowPadding, ImVec2(gui_px(13), gui_px(11)));
    ImGui::BeginTooltip();
}

void gui_tooltip_end(void)
{
    ImGui::EndTooltip();
    ImGui::PopStyleVar();
}

bool gui_item_hovered(void)
{
    return ImGui::IsItemHovered(ImGuiHoveredFlags_AllowWhenDisabled);
}

bool gui_item_focused(void)
{
    return ImGui::IsItemFocused() && !ImGui::GetCurrentContext()->NavDisableHighlight;
}

GuiRect gui_item_rect(void)
{
    ImVec2 a = ImGui::GetItemRectMin(), b = ImGui::GetItemRectMax();
    GuiRect r = {a.x, a.y, b.x, b.y};
    return r;
}

GuiVec gui_mouse(void)
{
    return from_im(ImGui::GetIO().MousePos);
}

void gui_clipboard(const char *text)
{
    ImGui::SetClipboardText(text);
}

const char *gui_clipboard_text(void)
{
    const char *text = ImGui::GetClipboardText();
    return text ? text : "";
}

// ---- tables ----

static void flatten(ImGuiWindow *w)
{
    if ((w->Flags & ImGuiWindowFlags_ChildWindow) == 0 ||
        (w->Flags & ImGuiWindowFlags_NavFlattened) != 0)
        return;
    w->Flags |= ImGuiWindowFlags_NavFlattened;
    w->RootWindowForNav = w->ParentWindow->RootWindowForNav;
}

bool gui_table_begin(const char *id, int columns, int flags, GuiVec size)
{
    ImGuiTableFlags f =
        ImGuiTableFlags_BordersInnerH | ImGuiTableFlags_PadOuterX | ImGuiTableFlags_NoSavedSettings;

    if (flags & GUI_TABLE_SORT)
        f |= ImGuiTableFlags_Sortable;
    if (flags & GUI_TABLE_SCROLL)
        f |= ImGuiTableFlags_ScrollY;
    if (flags & GUI_TABLE_STRIPES)
        f |= ImGuiTableFlags_RowBg;
    if (!ImGui::BeginTable(id, columns, f, to_im(size)))
        return false;
    flatten(ImGui::GetCurrentWindow());
    ImGui::TableSetupScrollFreeze(0, 1);
    return true;
}

void gui_table_column(const char *name, float width, int flags)
{
    ImGuiTableColumnFlags f = flags & GUI_COLUMN_STRETCH ? ImGuiTableColumnFlags_WidthStretch
                                                         : ImGuiTableColumnFlags_WidthFixed;

    if (flags & GUI_COLUMN_SORT_FIRST)
        f |= ImGuiTableColumnFlags_DefaultSort;
    if (flags & GUI_COLUMN_DESCENDING)
        f |= ImGuiTableColumnFlags_PreferSortDescending;
    if (flags & GUI_COLUMN_HIDDEN)
        f |= ImGuiTableColumnFlags_Disabled;
    ImGui::TableSetupColumn(name, f, width);
}

void gui_table_header(void)
{
    ImGui::PushFont(fonts[GUI_FONT_SMALL]);
    ImGui::PushStyleColor(ImGuiCol_Text, ImGui::GetStyle().Colors[ImGuiCol_TextDisabled]);
    ImGui::TableNextRow(ImGuiTableRowFlags_Headers);
    for (int i = 0; i < ImGui::TableGetColumnCount(); i++) {
        if (!ImGui::TableSetColumnIndex(i))
            continue;
        char id[64];
        ImGui::PushID(i);
        ImGui::TableHeader(ImGui::TableGetColumnName(i));
        snprintf(id, sizeof id, "column/%d", i);
        record_item(id, ImGui::TableGetColumnName(i));
        ImGui::PopID();
    }
    ImGui::PopStyleColor();
    ImGui::PopFont();
}

bool gui_table_sort(int *ret_column, bool *ret_descending)
{
    ImGuiTableSortSpecs *s = ImGui::TableGetSortSpecs();

    if (!s || s->SpecsCount < 1)
        return false;
    *ret_column = s->Specs[0].ColumnIndex;
    *ret_descending = s->Specs[0].SortDirection == ImGuiSortDirection_Descending;
    s->SpecsDirty = false;
    return true;
}

void gui_table_row(float height)
{
    ImGui::TableNextRow(0, height);
}

bool gui_table_row_hit(const char *id, float height, bool selected)
{
    ImVec2 start = ImGui::GetCursorPos();
    char full[200];

    snprintf(full, sizeof full, "##%s", id);
    bool pressed = ImGui::Selectable(
        full, selected, ImGuiSelectableFlags_SpanAllColumns | ImGuiSelectableFlags_AllowItemOverlap,
        ImVec2(0, height));
    pressed = entered(ImGui::GetItemID()) || pressed;
    record_item(id, "");
    ImGui::SetCursorPos(start);
    return pressed;
}

bool gui_table_cell(void)
{
    return ImGui::TableNextColumn();
}

void gui_table_end(void)
{
    ImGui::EndTable();
}

GuiClip gui_clip_begin(int rows, float row_height)
{
    ImGuiListClipper *clipper = new ImGuiListClipper();
    GuiClip c = {clipper, 0, 0};

    clipper->Begin(rows, row_height);
    return c;
}

bool gui_clip_step(GuiClip *clip)
{
    ImGuiListClipper *clipper = (ImGuiListClipper *)clip->clipper;

    if (!clipper->Step()) {
        delete clipper;
        clip->clipper = nullptr;
        return false;
    }
    clip->first = clipper->DisplayStart;
    clip->last = clipper->DisplayEnd;
    return true;
}

// ---- drawing ----

void draw_rect(float x0, float y0, float x1, float y1, GuiColor color, float rounding)
{
    canvas()->AddRectFilled(ImVec2(x0, y0), ImVec2(x1, y1), color, rounding);
}

void draw_frame(float x0, float y0, float x1, float y1, GuiColor color, float rounding, float width)
{
    canvas()->AddRect(ImVec2(x0, y0), ImVec2(x1, y1), color, rounding, 0, width);
}

void draw_line(float x0, float y0, float x1, float y1, GuiColor color, float width)
{
    canvas()->AddLine(ImVec2(x0, y0), ImVec2(x1, y1), color, width);
}

void draw_circle(float x, float y, float radius, GuiColor color)
{
    canvas()->AddCircleFilled(ImVec2(x, y), radius, color);
}

void draw_ring(float x, float y, float radius, GuiColor color, float width)
{
    canvas()->AddCircle(ImVec2(x, y), radius, color, 0, width);
}

void draw_arc(float x, float y, float radius, float from, float to, GuiColor color, float width)
{
    canvas()->PathArcTo(ImVec2(x, y), radius, from, to);
    canvas()->PathStroke(color, 0, width);
}

void draw_triangle(GuiVec a, GuiVec b, GuiVec c, GuiColor color)
{
    canvas()->AddTriangleFilled(to_im(a), to_im(b), to_im(c), color);
}

void draw_polyline(const GuiVec *points, int count, GuiColor color, float width)
{
    static_assert(sizeof(GuiVec) == sizeof(ImVec2), "points are passed through");
    canvas()->AddPolyline((const ImVec2 *)points, count, color, 0, width);
}

static void record_drawn(GuiFont font, float x, float y, const char *text)
{
    if (!record_on)
        return;
    GuiVec z = gui_text_size(font, text);
    record("", text, ImVec2(x, y), ImVec2(x + z.x, y + z.y));
}

void draw_text(GuiFont font, float x, float y, GuiColor color, const char *text)
{
    canvas()->AddText(fonts[font], fonts[font]->FontSize, ImVec2(floorf(x), floorf(y)), color,
                      text);
    record_drawn(font, x, y, text);
}

void draw_text_fit(GuiFont font, float x, float y, float width, GuiColor color, const char *text)
{
    ImGui::PushFont(fonts[font]);
    ImVec2 z = ImGui::CalcTextSize(text), p(floorf(x), floorf(y));
    ImGui::PushStyleColor(ImGuiCol_Text, color);
    ImGui::RenderTextEllipsis(canvas(), p, ImVec2(p.x + width, p.y + z.y), p.x + width, p.x + width,
                              text, text + strlen(text), &z); // an end, or "##" would be one
    ImGui::PopStyleColor();
    ImGui::PopFont();
    record_drawn(font, x, y, text);
}

void draw_text_rotated(GuiFont font, float x, float y, float angle, GuiColor color,
                       const char *text)
{
    ImDrawList *d = canvas();
    int first = d->VtxBuffer.Size;
    ImVec4 clip = d->_CmdHeader.ClipRect;
    float c = cosf(angle), s = sinf(angle);

    // Glyphs outside the clip rectangle are dropped while laying out: lay out unclipped at the
    // origin, then turn.
    d->_CmdHeader.ClipRect = ImVec4(-1e4F, -1e4F, 1e4F, 1e4F);
    d->AddText(fonts[font], fonts[font]->FontSize, ImVec2(0, 0), color, text);
    d->_CmdHeader.ClipRect = clip;
    for (int i = first; i < d->VtxBuffer.Size; i++) {
        ImVec2 p = d->VtxBuffer[i].pos;
        d->VtxBuffer[i].pos = ImVec2(x + p.x * c - p.y * s, y + p.x * s + p.y * c);
    }
    record_drawn(font, x, y, text);
}

void draw_clip(float x0, float y0, float x1, float y1)
{
    ImGui::PushClipRect(ImVec2(x0, y0), ImVec2(x1, y1), true);
}

void draw_unclip(void)
{
    ImGui::PopClipRect();
}

// ---- backends ----

bool gui_gl_init(void)
{
    return ImGui_ImplOpenGL3_Init("#version 150");
}

void gui_gl_frame(void)
{
    ImGui_ImplOpenGL3_NewFrame();
}

void gui_gl_draw(void)
{
    ImGui_ImplOpenGL3_RenderDrawData(ImGui::GetDrawData());
}

void gui_gl_renew_fonts(void)
{
    ImGui_ImplOpenGL3_DestroyFontsTexture();
    ImGui_ImplOpenGL3_CreateFontsTexture();
}

void gui_gl_shutdown(void)
{
    ImGui_ImplOpenGL3_Shutdown();
}

bool gui_sdl_init(void *sdl_window, void *gl_context)
{
    return gl_context ? ImGui_ImplSDL2_InitForOpenGL((SDL_Window *)sdl_window, gl_context)
                      : ImGui_ImplSDL2_InitForSDLRenderer((SDL_Window *)sdl_window);
}

void gui_sdl_event(const void *sdl_event)
{
    const SDL_Event *e = (const SDL_Event *)sdl_event;

    ImGui_ImplSDL2_ProcessEvent(e);
    if (e->type != SDL_KEYDOWN && e->type != SDL_KEYUP)
        return;
    // The backend asks for the modifiers of now, which run ahead of the event queue.
    ImGuiIO &io = ImGui::GetIO();
    Uint16 mod = e->key.keysym.mod;
    io.KeyCtrl = (mod & KMOD_CTRL) != 0;
    io.KeyShift = (mod & KMOD_SHIFT) != 0;
    io.KeyAlt = (mod & KMOD_ALT) != 0;
    if (e->type == SDL_KEYDOWN && io.KeyCtrl && e->key.keysym.sym >= SDLK_a &&
        e->key.keysym.sym <= SDLK_z)
        chord_now = (char)e->key.keysym.sym;
}

void gui_sdl_frame(void)
{
    ImGui_ImplSDL2_NewFrame();
}

void gui_sdl_shutdown(void)
{
    ImGui_ImplSDL2_Shutdown();
}

bool gui_soft_renew_fonts(void)
{
    ImGuiIO &io = ImGui::GetIO();
    unsigned char *pixels;
    int width, height;

    io.Fonts->GetTexDataAsRGBA32(&pixels, &width, &height);
    if (soft_fonts)
        SDL_DestroyTexture(soft_fonts);
    soft_fonts = SDL_CreateTexture(soft_renderer, SDL_PIXELFORMAT_ABGR8888,
                                   SDL_TEXTUREACCESS_STATIC, width, height);
    if (!soft_fonts)
        return false;
    SDL_UpdateTexture(soft_fonts, nullptr, pixels, 4 * width);
    SDL_SetTextureBlendMode(soft_fonts, SDL_BLENDMODE_BLEND);
    SDL_SetTextureScaleMode(soft_fonts, SDL_ScaleModeLinear);
    io.Fonts->SetTexID((ImTextureID)soft_fonts);
    return true;
}

bool gui_soft_init(void *sdl_renderer)
{
    ImGuiIO &io = ImGui::GetIO();

    soft_renderer = (SDL_Renderer *)sdl_renderer;
    io.BackendFlags |= ImGuiBackendFlags_RendererHasVtxOffset;
    return gui_soft_renew_fonts();
}

static void soft_draw_command(const ImDrawList *l, const ImDrawCmd &c, ImVec2 limit)
{
    ImVec2 a(ImMax(c.ClipRect.x, 0.F), ImMax(c.ClipRect.y, 0.F)),
        b(ImMin(c.ClipRect.z, limit.x), ImMin(c.ClipRect.w, limit.y));
    if (b.x <= a.x || b.y <= a.y)
        return;
    SDL_Rect clip = {(int)a.x, (int)a.y, (int)(b.x - a.x), (int)(b.y - a.y)};
    SDL_RenderSetClipRect(soft_renderer, &clip);
    const ImDrawVert *v = l->VtxBuffer.Data + c.VtxOffset;
    SDL_RenderGeometryRaw(soft_renderer, (SDL_Texture *)c.GetTexID(), &v->pos.x,
                          (int)sizeof(ImDrawVert), (const SDL_Color *)(const void *)&v->col,
                          (int)sizeof(ImDrawVert), &v->uv.x, (int)sizeof(ImDrawVert),
                          l->VtxBuffer.Size - (int)c.VtxOffset, l->IdxBuffer.Data + c.IdxOffset,
                          (int)c.ElemCount, (int)sizeof(ImDrawIdx));
}

void gui_soft_draw(void)
{
    const ImDrawData *d = ImGui::GetDrawData();

    for (int i = 0; i < d->CmdListsCount; i++)
        for (const ImDrawCmd &c : d->CmdLists[i]->CmdBuffer)
            if (!c.UserCallback)
                soft_draw_command(d->CmdLists[i], c, d->DisplaySize);
    SDL_RenderSetClipRect(soft_renderer, nullptr);
}

void gui_soft_shutdown(void)
{
    if (soft_fonts)
        SDL_DestroyTexture(soft_fonts);
    soft_fonts = nullptr;
    soft_renderer = nullptr;
}
