#pragma once

#include <string>

#include "shardscout/comparison.h"

/// A comparison as files for people and programs.
namespace shardscout {

/// RFC 4180: one row a problem and searcher (scope "problem"), then one a searcher over all problems (scope "all"); a
/// header; lines end with CR LF. Numbers read back bit for bit; a cell is empty where there is no number.
std::string ComparisonCsv(const Comparison& comparison);

/// One JSON object: everything in `comparison` but curves and profiles.
std::string ComparisonJson(const Comparison& comparison, int indent = 2);

/// Whether this build holds the library that draws the charts (Chart.js, from Debian's libjs-chart.js when it was
/// built).
bool HaveCharts();

/// One page that needs nothing else, no network either: tables, convergence curves and performance profiles, drawn by
/// the embedded Chart.js. HaveCharts() must be true.
std::string ComparisonHtml(const Comparison& comparison);

}  // namespace shardscout
