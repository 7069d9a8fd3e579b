#include "src/json/format.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

namespace shardscout::json {
namespace {

using nlohmann::ordered_json;

TEST(FormatDocument, Layout) {
  const ordered_json document = ordered_json::parse(R"({
    "name": "x", "empty": {}, "none": [], "counts": [1, 2, 3],
    "rows": [{"a": 1, "b": "c"}, {"_why": "a comment", "a": 2}],
    "peaks": {"bf16": 989e12, "launch": 0.000002, "third": 0.3333333333333333, "whole": 3.0}})");
  const std::string text = FormatDocument(document);
  EXPECT_EQ(text, R"({
  "name": "x",
  "empty": {},
  "none": [],
  "counts": [1, 2, 3],
  "rows": [
    {"a": 1, "b": "c"},
    {
      "_why": "a comment",
      "a": 2
    }
  ],
  "peaks": {"bf16": 9.89e14, "launch": 2e-6, "third": 0.3333333333333333, "whole": 3}
})");
  EXPECT_EQ(ordered_json::parse(text), document);
}

TEST(FormatDocument, NumbersFillTheLine) {
  ordered_json document;
  for (int i = 0; i < 40; ++i) document["curve"]["parameter_" + std::to_string(i)] = 1.5 + i;
  const std::string text = FormatDocument(document);
  EXPECT_EQ(ordered_json::parse(text), document);
  std::size_t longest = 0, lines = 0;
  for (std::size_t begin = 0, end = 0; begin < text.size(); begin = end + 1, ++lines) {
    end = std::min(text.find('\n', begin), text.size());
    longest = std::max(longest, end - begin);
  }
  EXPECT_LE(longest, 120u);
  EXPECT_GT(longest, 95u);
  EXPECT_LT(lines, 15u);
}

}  // namespace
}  // namespace shardscout::json
