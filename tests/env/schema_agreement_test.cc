// The schemas against the readers, by another's validator: what a schema refuses, the reader refuses, and what the
// reader refuses, the schema refuses too, but for what several fields must be together.

#include <gtest/gtest.h>

#include "shardscout/check.h"
#include "shardscout/error.h"
#include "tests/env/test_documents.h"

#if SHARDSCOUT_HAVE_VALIJSON
#include <algorithm>
#include <array>
#include <cstdlib>
#include <map>
#include <string_view>
#include <valijson/adapters/nlohmann_json_adapter.hpp>
#include <valijson/schema.hpp>
#include <valijson/schema_parser.hpp>
#include <valijson/validator.hpp>

namespace shardscout {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;
using valijson::adapters::NlohmannJsonAdapter;

class Schemas {
 public:
  Schemas() : searchers_(testing::AllSearchers()) {
    for (const SpecKind kind : kSpecKinds) {
      const json document = json::parse(SchemaJson(kind, searchers_));
      valijson::SchemaParser(valijson::SchemaParser::kDraft7)
          .populateSchema(NlohmannJsonAdapter(document), schemas_[kind]);
    }
  }
  bool SchemaTakes(SpecKind kind, const json& document) {
    return valijson::Validator().validate(schemas_[kind], NlohmannJsonAdapter(document), nullptr);
  }
  /// "" where the reader takes it, else the error.
  std::string ReaderError(SpecKind kind, const json& document) const {
    try {
      CheckSpec(kind, document.dump(), "f.json", searchers_, nullptr);
      return "";
    } catch (const SpecError& error) {
      return error.what();
    }
  }

 private:
  SearcherRegistry searchers_;
  std::map<SpecKind, valijson::Schema> schemas_;
};

/// What only the reader knows.
bool IsBeyondSchemas(std::string_view error) {
  static constexpr std::array<std::string_view, 25> kReasons = {
      "of the tier inside it",        // tiers nest
      "devices of the cluster",       // the outermost covers it
      "#/problem/digest",             // a digest
      "one entry a layer",            // model invariants
      "exactly where there are",      //
      "exactly for",                  //
      "expected a divisor",           //
      "at most num_experts",          //
      "index_topk together",          //
      "a gate only for",              //
      "expected \"variable=value\"",  // problem options
      "to be held",                   //
      "admits no value",              //
      "numbers, expected",            // a table's rows are as long as its columns
      "/columns: expected",           //
      "missing key",                  // a model's, by family; of others the schema knows them
      "0 for no such units",          // or 1 and more
      "curves of the innermost",      //
      "nccl beside it",               //
      "arrivals that do not fall",    //
      "in any strategy",
      "is neither a file nor",  // a suite's presets
      "not given before",       // its names
      "found beside batch_size",
      "a prefill workload has no"};
  return std::any_of(kReasons.begin(), kReasons.end(),
                     [&](std::string_view reason) { return error.find(reason) != std::string_view::npos; });
}

/// Every document that differs from `document` in one place: a value of another type or out of range, a key too many or
/// too few.
std::vector<std::pair<std::string, json>> Variants(const json& document) {
  std::vector<std::pair<std::string, json>> variants;
  const json flat = document.flatten();
  std::vector<json::json_pointer> places = {json::json_pointer("")};
  for (const auto& item : flat.items()) {
    for (json::json_pointer place(item.key()); !place.empty(); place = place.parent_pointer()) {
      if (std::find(places.begin(), places.end(), place) == places.end()) places.push_back(place);
    }
  }
  const json values = json::parse(R"([null, true, -1, 0, 0.5, 7, 1e300, "", "nonsense", [], {}, [[]], {"a": 1}])");
  for (const json::json_pointer& place : places) {
    const std::string name = place.to_string();
    if (name.find("/_") != std::string::npos) continue;  // comments
    for (const json& value : values) {
      json changed = document;
      changed[place] = value;
      variants.emplace_back(name + " = " + value.dump(), changed);
    }
    if (document[place].is_object()) {
      json changed = document;
      changed[place]["favourite_colour"] = 1;
      variants.emplace_back(name + " with another key", changed);
    }
    if (!place.empty() && document[place.parent_pointer()].is_object()) {
      json changed = document;
      changed[place.parent_pointer()].erase(place.back());
      variants.emplace_back(name + " erased", changed);
    }
  }
  return variants;
}

TEST(SchemaAgreementTest, GoodDocumentsPassBoth) {
  Schemas schemas;
  for (const testing::Document& document : testing::GoodDocuments()) {
    EXPECT_TRUE(schemas.SchemaTakes(document.kind, document.json)) << document.name;
    EXPECT_EQ(schemas.ReaderError(document.kind, document.json), "") << document.name;
  }
}

/// The parts of a plan's problem are documents of their own: of its variants every fourth, and where
/// SHARDSCOUT_ALL_VARIANTS is set (test.sh --all) each.
TEST(SchemaAgreementTest, SchemaAndReaderRefuseTheSame) {
  Schemas schemas;
  const bool all = std::getenv("SHARDSCOUT_ALL_VARIANTS") != nullptr;
  int of_problems = 0;
  std::map<SpecKind, int> refused;
  int variants = 0;
  std::set<SpecKind> done;
  for (const testing::Document& document : testing::GoodDocuments()) {
    // A family's reader ignores keys of other families, which the schema still types; one cluster stands for all.
    if (document.kind == SpecKind::kModel) continue;
    if (document.kind == SpecKind::kCluster && !done.insert(document.kind).second) continue;
    for (const auto& [name, variant] : Variants(document.json)) {
      const bool of_problem = document.kind == SpecKind::kPlan && name.starts_with("/problem/");
      if (of_problem && !all && ++of_problems % 4 != 0) continue;
      ++variants;
      const bool taken = schemas.SchemaTakes(document.kind, variant);
      const std::string error = schemas.ReaderError(document.kind, variant);
      if (!taken) {
        EXPECT_NE(error, "") << document.name << ": the schema alone refuses " << name;
        ++refused[document.kind];
      } else if (!error.empty()) {
        EXPECT_TRUE(IsBeyondSchemas(error)) << document.name << ": the reader alone refuses " << name << ": " << error;
      }
    }
  }
  EXPECT_GT(variants, 2000);
  for (const SpecKind kind : kSpecKinds) {
    if (kind == SpecKind::kModel) continue;
    EXPECT_GT(refused[kind], 50) << ToString(kind);
  }
}

TEST(SchemaAgreementTest, AModelsKeysHaveTheirTypes) {
  Schemas schemas;
  for (const testing::Document& document : testing::GoodDocuments()) {
    if (document.kind != SpecKind::kModel) continue;
    for (const char* key : {"num_hidden_layers", "hidden_size", "vocab_size", "num_attention_heads"}) {
      json changed = document.json;
      if (!changed.contains(key)) continue;  // under another name, or nested
      for (const json& value : {json("8"), json(0), json(1.5), json(-3), json(1e12), json::array()}) {
        changed[key] = value;
        EXPECT_FALSE(schemas.SchemaTakes(SpecKind::kModel, changed)) << document.name << " " << key << value;
        EXPECT_NE(schemas.ReaderError(SpecKind::kModel, changed), "") << document.name << " " << key << value;
      }
    }
  }
}

}  // namespace
}  // namespace shardscout

#else

TEST(SchemaAgreementTest, NeedsValijson) { GTEST_SKIP() << "built without valijson (Debian: libvalijson-dev)"; }

#endif
