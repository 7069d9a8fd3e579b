#pragma once

// What the pages that commands write have in common: one file that needs nothing else, no network either.

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace shardscout::exporters {

/// For text between tags and in attributes.
std::string Escaped(std::string_view text);

/// printf of one number.
std::string Formatted(const char* format, double value);

/// A table of headers and cells that are HTML already, in a box of its own that scrolls sideways where the page is
/// narrow. A header that begins with '<' is of a column of text, which is set flush left and breaks lines; a table with
/// such columns does not scroll on a phone: its rows become paragraphs, each cell with its header before it.
std::string TableElement(const std::vector<std::string>& header, const std::vector<std::vector<std::string>>& rows);

/// Something that is shown once it is asked for.
std::string FoldedElement(const std::string& summary, const std::string& content);

/// For the part of a URL after "data:...,": every byte but letters, digits and -_.~ as %XX.
std::string PercentEncoded(std::string_view text);

/// Where the page's script draws a chart; `label` says what it shows.
std::string ChartElement(const std::string& id, const std::string& label);

/// A page of that title (not yet escaped) and body. `script` finds `data` as the JSON in the element "data", Chart.js,
/// and `page` of page_charts.js. This build must have Chart.js.
std::string HtmlPage(const std::string& title, const std::string& body, const nlohmann::ordered_json& data,
                     std::string_view script);

}  // namespace shardscout::exporters
