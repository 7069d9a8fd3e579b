#include "shardscout/check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "shardscout/error.h"
#include "shardscout/preset_paths.h"
#include "tests/env/test_documents.h"
#include "tests/src/spec_error_at.h"

namespace shardscout {
namespace {

using nlohmann::ordered_json;
using ::testing::HasSubstr;

const SearcherRegistry& Searchers() {
  static const SearcherRegistry searchers = testing::AllSearchers();
  return searchers;
}

ordered_json Schema(SpecKind kind) { return ordered_json::parse(SchemaJson(kind, Searchers())); }

TEST(SchemaTest, CommittedFilesAreWhatTheProgramPrints) {
  for (const SpecKind kind : kSpecKinds) {
    const std::string file = PresetDirectory("schemas") + "/" + std::string(ToString(kind)) + ".schema.json";
    EXPECT_TRUE(ReadTextFile(file) == SchemaJson(kind, Searchers()))
        << file << " is out of date: scripts/update_schemas.sh writes it";
  }
}

/// Counts the fields below `schema`, all of which must be described and have a type or a list of names.
int CheckDescribed(const ordered_json& schema, const std::string& place) {
  int fields = 0;
  if (schema.contains("items")) fields += CheckDescribed(schema["items"], place + "[]");
  if (!schema.contains("properties")) return fields;
  for (const auto& item : schema["properties"].items()) {
    const std::string name = place + "/" + item.key();
    EXPECT_GT(item.value().value("description", "").size(), 5u) << name;
    EXPECT_TRUE(item.value().contains("type") || item.value().contains("enum")) << name;
    fields += 1 + CheckDescribed(item.value(), name);
  }
  return fields;
}

TEST(SchemaTest, EveryFieldIsDescribed) {
  for (const SpecKind kind : kSpecKinds) {
    const ordered_json schema = Schema(kind);
    EXPECT_EQ(schema["$schema"], "http://json-schema.org/draft-07/schema#");
    EXPECT_GE(CheckDescribed(schema, std::string(ToString(kind))), 10);
  }
}

TEST(SchemaTest, SaysWhatTheFieldsSay) {
  const ordered_json cluster = Schema(SpecKind::kCluster);
  const ordered_json& tier = cluster["properties"]["tiers"]["items"];
  EXPECT_EQ(tier["properties"]["achieved_fraction"]["type"], "number");
  EXPECT_EQ(tier["properties"]["achieved_fraction"]["minimum"], 1e-6);
  EXPECT_EQ(tier["properties"]["achieved_fraction"]["maximum"], 1);
  EXPECT_EQ(tier["properties"]["achieved_fraction"]["default"], 1.0);
  EXPECT_EQ(tier["properties"]["kind"]["enum"].size(), 5u);
  EXPECT_EQ(tier["additionalProperties"], false);
  EXPECT_THAT(tier["required"].get<std::vector<std::string>>(), ::testing::Contains("latency_s"));
  EXPECT_EQ(Schema(SpecKind::kWorkload)["properties"]["batch_size"]["type"],
            ordered_json::parse(R"(["integer","null"])"));
  EXPECT_EQ(Schema(SpecKind::kSearch)["properties"]["ppo"]["properties"]["clip_range"]["maximum"], 1);
}

TEST(DetectSpecKindTest, EveryGoodDocumentTellsItsKindAndPasses) {
  std::set<SpecKind> seen;
  for (const testing::Document& document : testing::GoodDocuments()) {
    SCOPED_TRACE(document.name);
    const std::string text = document.json.dump();
    EXPECT_EQ(DetectSpecKind(text, "f.json", Searchers()), document.kind);
    EXPECT_NO_THROW(CheckSpec(document.kind, text, "f.json", Searchers(), nullptr));
    seen.insert(document.kind);
  }
  EXPECT_EQ(seen.size(), kSpecKinds.size());
}

TEST(DetectSpecKindTest, RefusesWhatTellsNothing) {
  const auto error = [](const std::string& text, const std::string& place) {
    return SpecErrorAt(place, [&] { DetectSpecKind(text, "f.json", Searchers()); });
  };
  EXPECT_THAT(error("{}", "f.json#"), HasSubstr("--kind"));
  EXPECT_THAT(error(R"({"name": "both a cluster and a workload have one"})", "f.json#"), HasSubstr("--kind"));
  EXPECT_THAT(error("[1]", "f.json#"), HasSubstr("found [1], expected an object"));
  EXPECT_THAT(error("{", "f.json"), HasSubstr("not JSON at line 1, column 2"));
}

TEST(ParseSpecKindTest, NamesTheNearest) {
  for (const SpecKind kind : kSpecKinds) EXPECT_EQ(ParseSpecKind(ToString(kind), "--kind"), kind);
  EXPECT_THAT(SpecErrorAt("--kind", [] { ParseSpecKind("custer", "--kind"); }), HasSubstr("did you mean \"cluster\"?"));
}

TEST(CheckSpecTest, SettingsErrorsNameTheSearcherInThePointer) {
  const auto check = [](const std::string& text) {
    CheckSpec(SpecKind::kSearch, text, "s.json", Searchers(), nullptr);
  };
  EXPECT_THAT(SpecErrorAt("s.json#/ppo/clip_range", [&] { check(R"({"ppo": {"clip_range": 2}})"); }),
              HasSubstr("found 2, expected a number in (0, 1]"));
  EXPECT_THAT(SpecErrorAt("s.json#/annealing/patince", [&] { check(R"({"annealing": {"patince": 2}})"); }),
              HasSubstr("did you mean \"patience\"?"));
  EXPECT_THAT(SpecErrorAt("s.json#/anealing", [&] { check(R"({"anealing": {}})"); }),
              HasSubstr("did you mean \"annealing\"?"));
}

TEST(CheckSpecTest, AModelsUnknownKeysAreWarnings) {
  ordered_json model = ordered_json::parse(ReadTextFile(ResolvePreset("models", "llama-3.1-8b", "test")));
  model["favourite_colour"] = "blue";
  std::vector<std::string> warnings;
  CheckSpec(SpecKind::kModel, model.dump(), "m.json", Searchers(), &warnings);
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_THAT(warnings[0], HasSubstr("m.json#/favourite_colour"));
}

/// The keys that a model's schema describes are those that presets have, but for what is known to be irrelevant.
TEST(ModelSchemaTest, DescribesEveryStructuralKeyOfThePresets) {
  const ordered_json schema = Schema(SpecKind::kModel);
  for (const std::string& name : ListPresets("models")) {
    const auto model = ordered_json::parse(ReadTextFile(ResolvePreset("models", name, "test")));
    for (const auto& item : model.items()) {
      if (item.key().starts_with('_') || schema["properties"].contains(item.key())) continue;
      ordered_json without = model;
      without.erase(item.key());
      EXPECT_EQ(ParseModelConfig(without.dump(), name, {}, nullptr), ParseModelConfig(model.dump(), name, {}, nullptr))
          << item.key() << " of " << name << " decides the structure; describe it in src/model_keys.h";
    }
  }
}

}  // namespace
}  // namespace shardscout
