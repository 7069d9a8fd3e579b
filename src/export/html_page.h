#pragma once

// What the pages that commands write have in common: one file that needs nothing else, no network either.

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace shardscout::exporters {

/// For text between tags and in attributes.
std::string Escaped(std::string_view text);

/// printf of one number.
std::string Formatted(const char* format, double value);

/// Where the page's script draws a chart; `label` says what it shows.
std::string ChartElement(const std::string& id, const std::string& label);

/// A page of that title (not yet escaped) and body. `script` finds `data` as the JSON in the element "data", and
/// Chart.js. This build must have Chart.js.
std::string HtmlPage(const std::string& title, const std::string& body, const nlohmann::ordered_json& data,
                     std::string_view script);

}  // namespace shardscout::exporters
