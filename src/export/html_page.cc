#include "src/export/html_page.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "shardscout/comparison_report.h"
#include "shardscout/error.h"
#include "src/embedded_text.h"

namespace shardscout {
namespace exporters {
namespace {

/// JSON that cannot end the script element that holds it: no "<" is left.
std::string ForScript(const nlohmann::ordered_json& data) {
  const std::string json = data.dump(-1, ' ', /*ensure_ascii=*/true, nlohmann::ordered_json::error_handler_t::replace);
  std::string safe;
  for (const char c : json) {
    if (c == '<') {
      safe += "\\u003c";
    } else {
      safe += c;
    }
  }
  return safe;
}

}  // namespace

std::string Escaped(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      case '\'':
        escaped += "&#39;";
        break;
      default:
        escaped += c;
    }
  }
  return escaped;
}

std::string Formatted(const char* format, double value) {
  std::array<char, 64> buffer{};
  std::snprintf(buffer.data(), buffer.size(), format, value);
  return buffer.data();
}

std::string TableElement(const std::vector<std::string>& header, const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::string> names;
  std::vector<const char*> classes;
  for (const std::string& cell : header) {
    const bool wraps = cell.starts_with('<');
    names.push_back(cell.substr(wraps ? 1 : 0));
    classes.push_back(wraps ? " class=\"wrap\"" : "");
  }
  const bool stacks = std::any_of(header.begin(), header.end(), [](const auto& cell) { return cell.starts_with('<'); });
  std::string table =
      std::string("<div class=\"scroll\"><table") + (stacks ? " class=\"stacks\"" : "") + "><thead><tr>";
  for (std::size_t i = 0; i < names.size(); ++i) {
    table += std::string("<th") + classes[i] + ">" + names[i] + "</th>";
  }
  table += "</tr></thead><tbody>\n";
  for (const std::vector<std::string>& row : rows) {
    table += "<tr>";
    for (std::size_t i = 0; i < row.size(); ++i) {
      table += std::string("<td") + classes.at(i) + (stacks ? " data-label=\"" + names[i] + "\"" : std::string()) +
               ">" + row[i] + "</td>";
    }
    table += "</tr>\n";
  }
  return table + "</tbody></table></div>\n";
}

std::string FoldedElement(const std::string& summary, const std::string& content) {
  return "<details><summary>" + summary + "</summary>\n" + content + "</details>\n";
}

std::string PercentEncoded(std::string_view text) {
  std::string encoded;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                       c == '_' || c == '.' || c == '~';
    if (plain) {
      encoded += c;
    } else {
      std::array<char, 4> hex{};
      std::snprintf(hex.data(), hex.size(), "%%%02X", byte);
      encoded += hex.data();
    }
  }
  return encoded;
}

std::string ChartElement(const std::string& id, const std::string& label) {
  return "<div class=\"chart\"><canvas id=\"" + id + "\" role=\"img\" aria-label=\"" + Escaped(label) +
         "\"></canvas></div>\n";
}

std::string HtmlPage(const std::string& title, const std::string& body, const nlohmann::ordered_json& data,
                     std::string_view script) {
  SHARDSCOUT_CHECK(HaveCharts());
  std::string page =
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; script-src 'unsafe-inline'; "
      "style-src 'unsafe-inline'\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta "
      "name=\"color-scheme\" content=\"light dark\">\n<title>" +
      Escaped(title) + "</title>\n<style>\n";
  page.append(internal::PageCss()).append("</style>\n</head>\n<body>\n<h1>" + Escaped(title) + "</h1>\n" + body);
  page += "<script type=\"application/json\" id=\"data\">" + ForScript(data) + "</script>\n<script>\n";
  page.append(internal::ChartJs()).append("\n</script>\n<script>\n");
  page.append(internal::PageChartsJs()).append("</script>\n<script>\n");
  page.append(script).append("</script>\n</body>\n</html>\n");
  return page;
}

}  // namespace exporters

bool HaveCharts() { return !internal::ChartJs().empty(); }

}  // namespace shardscout
