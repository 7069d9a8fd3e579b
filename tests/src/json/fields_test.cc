#include "src/json/fields.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "src/json/json_text.h"
#include "tests/src/spec_error_at.h"

namespace shardscout::fields_test {

enum class Color : std::uint8_t { kRed, kDarkBlue };
std::string_view ToString(Color color) { return color == Color::kRed ? "red" : "dark_blue"; }
std::array<Color, 2> EnumValues(Color) { return {Color::kRed, Color::kDarkBlue}; }

struct Wheel {
  std::int64_t spokes = 8;
  double radius = 0.5;
  bool operator==(const Wheel&) const = default;
};

template <class V>
void VisitFields(V& visit, Wheel& wheel) {
  visit("spokes", wheel.spokes, {.doc = "How many.", .min = 1, .max = 100, .required = true});
  visit("radius", wheel.radius, {.doc = "In metres.", .above = 0, .max = 2});
}

struct Cart {
  std::string name = "cart";
  bool covered = false;
  int year = 1900;
  std::uint64_t seed = 1;
  Color color = Color::kRed;
  std::optional<double> price;
  std::optional<Color> trim;
  Wheel spare;
  std::vector<Wheel> wheels;
  std::vector<std::int64_t> marks = {1, 2};
  bool operator==(const Cart&) const = default;
};

template <class V>
void VisitFields(V& visit, Cart& cart) {
  visit("name", cart.name, {.doc = "As its owner calls it."});
  visit("covered", cart.covered, {});
  visit("year", cart.year, {});
  visit("seed", cart.seed, {});
  visit("color", cart.color, {.doc = "Of the body."});
  visit("price", cart.price, {.min = 0});
  visit("trim", cart.trim, {});
  visit("spare", cart.spare, {});
  visit("wheels", cart.wheels, {});
  visit("marks", cart.marks, {.min = 0, .max = 9});
}

}  // namespace shardscout::fields_test

namespace shardscout::json {
namespace {

using fields_test::Cart;
using fields_test::Color;
using fields_test::Wheel;
using ::testing::ElementsAre;

Cart Read(const std::string& text) { return ReadJson<Cart>(ParseText(text, "cart.json"), "cart.json"); }

std::string ErrorAt(const std::string& pointer, const std::string& text) {
  const std::string place = "cart.json#" + pointer;
  const std::string what = SpecErrorAt(place, [&] { Read(text); });
  return what.substr(std::min(what.size(), place.size() + 2));
}

Cart FullCart() {
  Cart cart;
  cart.name = "blue \"one\"";
  cart.covered = true;
  cart.year = -5;
  cart.seed = 9223372036854775807u;
  cart.color = Color::kDarkBlue;
  cart.price = 0.1;
  cart.trim = Color::kRed;
  cart.spare = {.spokes = 12, .radius = 0.75};
  cart.wheels = {{.spokes = 3, .radius = 1e-9}, {}};
  cart.marks = {};
  return cart;
}

TEST(ReadJsonTest, OverwritesDefaults) {
  const Cart cart = Read(R"({"name": "c", "color": "dark_blue", "price": 3, "spare": {"spokes": 6},
                             "wheels": [{"spokes": 1}, {"spokes": 2, "radius": 2}], "_why": "a comment"})");
  Cart expected;
  expected.name = "c";
  expected.color = Color::kDarkBlue;
  expected.price = 3.0;
  expected.spare.spokes = 6;
  expected.wheels = {{.spokes = 1}, {.spokes = 2, .radius = 2}};
  EXPECT_EQ(cart, expected);
  EXPECT_EQ(Read("{}"), Cart());
}

TEST(ReadJsonTest, NullUnsetsAnOptional) {
  EXPECT_EQ(ReadJson<Cart>(ParseText(R"({"price": null})", ""), "", FullCart()).price, std::nullopt);
  EXPECT_EQ(ErrorAt("/name", R"({"name": null})"), "found null, expected a string");
}

TEST(ReadJsonTest, NamesTheNearestOfUnknownKeys) {
  EXPECT_EQ(ErrorAt("/wheels/1/radios", R"({"wheels": [{"spokes": 1}, {"spokes": 1, "radios": 2}]})"),
            "unknown key, expected one of spokes, radius; did you mean \"radius\"?");
  EXPECT_EQ(ErrorAt("/a~1b", R"({"a/b": 1})"),
            "unknown key, expected one of name, covered, year, seed, color, price, trim, spare, wheels, marks");
  EXPECT_EQ(ErrorAt("/spare/spoke", R"({"spare": {"spoke": 1}})"),
            "unknown key, expected one of spokes, radius; did you mean \"spokes\"?");
}

TEST(ReadJsonTest, NamesMissingKeys) {
  EXPECT_EQ(ErrorAt("/wheels/0", R"({"wheels": [{"radius": 1}]})"), "missing key \"spokes\"");
}

TEST(ReadJsonTest, RefusesOtherTypes) {
  EXPECT_EQ(
      ErrorAt("", "[]"),
      "found [], expected an object with the keys name, covered, year, seed, color, price, trim, spare, wheels, marks");
  EXPECT_EQ(ErrorAt("/name", R"({"name": 1})"), "found 1, expected a string");
  EXPECT_EQ(ErrorAt("/covered", R"({"covered": 1})"), "found 1, expected true or false");
  EXPECT_EQ(ErrorAt("/price", R"({"price": "3"})"), "found \"3\", expected a number >= 0");
  EXPECT_EQ(ErrorAt("/wheels", R"({"wheels": {}})"), "found {}, expected a list");
  EXPECT_EQ(ErrorAt("/spare", R"({"spare": true})"), "found true, expected an object with the keys spokes, radius");
  EXPECT_EQ(ErrorAt("/color", R"({"color": "dark_blu"})"),
            "found \"dark_blu\", expected one of red, dark_blue; did you mean \"dark_blue\"?");
  EXPECT_EQ(ErrorAt("/color", R"({"color": 0})"), "found 0, expected one of red, dark_blue");
}

TEST(ReadJsonTest, RefusesNumbersOutOfRange) {
  EXPECT_EQ(ErrorAt("/spare/spokes", R"({"spare": {"spokes": 0}})"), "found 0, expected an integer in [1, 100]");
  EXPECT_EQ(ErrorAt("/spare/spokes", R"({"spare": {"spokes": 101}})"), "found 101, expected an integer in [1, 100]");
  EXPECT_EQ(ErrorAt("/spare/radius", R"({"spare": {"spokes": 1, "radius": 0}})"),
            "found 0, expected a number in (0, 2]");
  EXPECT_EQ(ErrorAt("/price", R"({"price": -0.5})"), "found -0.5, expected a number >= 0");
  EXPECT_EQ(ErrorAt("/marks/2", R"({"marks": [0, 9, 10]})"), "found 10, expected an integer in [0, 9]");
}

TEST(ReadJsonTest, IntegersAreWholeAndFit) {
  EXPECT_EQ(ErrorAt("/year", R"({"year": 1.0})"), "found 1.0, expected an integer from -2147483648 to 2147483647");
  EXPECT_EQ(ErrorAt("/year", R"({"year": 2147483648})"),
            "found 2147483648, expected an integer from -2147483648 to 2147483647");
  EXPECT_EQ(ErrorAt("/seed", R"({"seed": -1})"), "found -1, expected an integer from 0 to 9223372036854775807");
  EXPECT_EQ(ErrorAt("/seed", R"({"seed": 9223372036854775808})"),
            "found 9223372036854775808, expected an integer from 0 to 9223372036854775807");
  EXPECT_EQ(ErrorAt("/seed", R"({"seed": 1e30})"), "found 1e+30, expected an integer from 0 to 9223372036854775807");
}

TEST(WriteJsonTest, RoundTrips) {
  for (const Cart& cart : {Cart(), FullCart()}) {
    EXPECT_EQ(Read(WriteJson(cart).dump()), cart);
    EXPECT_EQ(ReadJson<Cart>(ParseText(WriteJson(cart).dump(), ""), "", FullCart()), cart);
  }
}

TEST(WriteJsonTest, KeepsTheOrderOfTheFields) {
  EXPECT_EQ(WriteJson(Cart()).dump(),
            R"({"name":"cart","covered":false,"year":1900,"seed":1,"color":"red","price":null,"trim":null,)"
            R"("spare":{"spokes":8,"radius":0.5},"wheels":[],"marks":[1,2]})");
}

TEST(SetFieldTest, SetsEveryKindOfField) {
  Cart cart;
  cart.wheels.resize(2);
  const auto set = [&](std::string_view path, std::string_view text) { SetField(cart, path, text, "--set"); };
  set("name", "12");
  set("covered", "true");
  set("year", "7");
  set("color", "dark_blue");
  set("price", "0.25");
  set("trim", "red");
  set("spare.radius", "1.5");
  set("wheels.1.spokes", "4");
  set("marks", "[3]");
  EXPECT_EQ(cart.name, "12");
  EXPECT_TRUE(cart.covered);
  EXPECT_EQ(cart.year, 7);
  EXPECT_EQ(cart.color, Color::kDarkBlue);
  EXPECT_EQ(cart.price, 0.25);
  EXPECT_EQ(cart.trim, Color::kRed);
  EXPECT_EQ(cart.spare, (Wheel{.spokes = 8, .radius = 1.5}));
  EXPECT_EQ(cart.wheels[1].spokes, 4);
  EXPECT_EQ(cart.marks, std::vector<std::int64_t>{3});
  set("trim", "null");
  set("price", "null");
  EXPECT_EQ(cart.trim, std::nullopt);
  EXPECT_EQ(cart.price, std::nullopt);
}

TEST(SetFieldTest, NamesThePathAndLeavesTheObjectAlone) {
  const Cart before = FullCart();
  const auto error = [&](const std::string& path, const std::string& text) {
    Cart cart = before;
    const std::string place = "--set " + path;
    const std::string what = SpecErrorAt(place, [&] { SetField(cart, path, text, "--set"); });
    EXPECT_EQ(cart, before);
    return what.substr(std::min(what.size(), place.size() + 2));
  };
  EXPECT_EQ(error("spare.radios", "1"),
            "\"radios\": unknown key, expected one of spokes, radius; did you mean \"radius\"?");
  EXPECT_EQ(error("spare.radius", "3"), "found 3, expected a number in (0, 2]");
  EXPECT_EQ(error("spare.radius", "nan"), "found \"nan\", expected a number in (0, 2]");
  EXPECT_EQ(error("spare.radius", ""), "found \"\", expected a number in (0, 2]");
  EXPECT_EQ(error("spare.radius", "1e999"), "found \"1e999\", expected a number in (0, 2]");
  // Not read as JSON: quoting what is nested so deep would overflow the stack.
  const std::string deep = std::string(50000, '[') + std::string(50000, ']');
  EXPECT_EQ(error("spare.radius", deep), "found \"" + deep.substr(0, 59) + "..., expected a number in (0, 2]");
  EXPECT_EQ(error("year", "1 2"), "found \"1 2\", expected an integer from -2147483648 to 2147483647");
  EXPECT_EQ(error("color", "green"), "found \"green\", expected one of red, dark_blue");
  EXPECT_EQ(error("name.first", "x"), "\"first\": what is before it has no fields");
  EXPECT_EQ(error("wheels.2.spokes", "1"), "found \"2\" as the index into a list of 2");
  EXPECT_EQ(error("wheels.x.spokes", "1"), "found \"x\" as the index into a list of 2");
}

TEST(DescribeFieldsTest, GivesOneRowALeaf) {
  const std::vector<FieldRow> rows = DescribeFields(Cart());
  std::vector<std::string> names;
  for (const FieldRow& row : rows) names.push_back(row.name);
  EXPECT_THAT(names, ElementsAre("name", "covered", "year", "seed", "color", "price", "trim", "spare.spokes",
                                 "spare.radius", "wheels[].spokes", "wheels[].radius", "marks"));
  EXPECT_EQ(rows[4].type, "red|dark_blue");
  EXPECT_EQ(rows[4].default_value, "red");
  EXPECT_EQ(rows[4].doc, "Of the body.");
  EXPECT_EQ(rows[5].type, "number or null");
  EXPECT_EQ(rows[5].default_value, "null");
  EXPECT_EQ(rows[5].range, ">= 0");
  EXPECT_EQ(rows[8].default_value, "0.5");
  EXPECT_EQ(rows[8].range, "in (0, 2]");
  EXPECT_EQ(rows[11].type, "list of integer");
  EXPECT_EQ(rows[11].default_value, "[1,2]");
}

TEST(WriteSchemaTest, SaysTypesRangesNamesAndDefaults) {
  const nlohmann::ordered_json schema = WriteSchema<Cart>();
  const auto& properties = schema["properties"];
  EXPECT_EQ(schema["type"], "object");
  EXPECT_FALSE(schema.contains("required"));
  EXPECT_EQ(schema["additionalProperties"], false);
  EXPECT_TRUE(schema["patternProperties"].contains("^_"));
  EXPECT_EQ(properties["name"].dump(), R"({"description":"As its owner calls it.","type":"string","default":"cart"})");
  EXPECT_EQ(properties["covered"].dump(), R"({"type":"boolean","default":false})");
  EXPECT_EQ(properties["year"].dump(),
            R"({"type":"integer","minimum":-2147483648,"maximum":2147483647,"default":1900})");
  EXPECT_EQ(properties["seed"].dump(), R"({"type":"integer","minimum":0,"default":1})");
  EXPECT_EQ(properties["color"].dump(), R"({"description":"Of the body.","enum":["red","dark_blue"],"default":"red"})");
  EXPECT_EQ(properties["price"].dump(), R"({"type":["number","null"],"minimum":0})");
  EXPECT_EQ(properties["trim"].dump(), R"({"enum":["red","dark_blue",null]})");
  EXPECT_EQ(properties["marks"].dump(),
            R"({"type":"array","items":{"type":"integer","minimum":0,"maximum":9},"default":[1,2]})");
  const auto& wheel = properties["wheels"]["items"];
  EXPECT_EQ(wheel["required"].dump(), R"(["spokes"])");
  EXPECT_EQ(wheel["properties"]["radius"].dump(),
            R"({"description":"In metres.","type":"number","exclusiveMinimum":0,"maximum":2,"default":0.5})");
  EXPECT_EQ(properties["spare"]["properties"], wheel["properties"]);
}

TEST(WriteSchemaTest, ARowOfTheTableHasItsPart) {
  const std::vector<FieldRow> rows = DescribeFields(Cart());
  ASSERT_EQ(rows[3].name, "seed");
  EXPECT_EQ(rows[3].schema, R"({"type":"integer","minimum":0,"default":1})");
}

}  // namespace
}  // namespace shardscout::json
