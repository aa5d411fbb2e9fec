/* The two charts of a service: healthy ratio per hour, and latency over time. They draw what a
 * Detail holds. */
#pragma once

#include "monitor/detail.h"
#include "monitor/gui.h"

void chart_hours(const Detail *d, float height);
void chart_latency(const Detail *d, float height);
