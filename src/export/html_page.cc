#include "src/export/html_page.h"

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
      "style-src 'unsafe-inline'\">\n<meta name=\"viewport\" content=\"width=device-width\">\n<title>" +
      Escaped(title) + "</title>\n<style>\n";
  page.append(internal::PageCss()).append("</style>\n</head>\n<body>\n<h1>" + Escaped(title) + "</h1>\n" + body);
  page += "<script type=\"application/json\" id=\"data\">" + ForScript(data) + "</script>\n<script>\n";
  page.append(internal::ChartJs()).append("\n</script>\n<script>\n");
  page.append(script).append("</script>\n</body>\n</html>\n");
  return page;
}

}  // namespace exporters

bool HaveCharts() { return !internal::ChartJs().empty(); }

}  // namespace shardscout
