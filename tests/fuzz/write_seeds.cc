// Writes what the fuzz targets begin with, where no folder of configs/ holds it already: a few small documents of each
// kind, and one dictionary of the keys and names that the schemas list. The argument is the folder to write to.

#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "shardscout/journal.h"
#include "shardscout/run_search.h"
#include "tests/env/test_documents.h"

namespace shardscout::fuzz {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

void Write(const fs::path& folder, const std::string& name, const std::string& text) {
  fs::create_directories(folder);
  std::ofstream file(folder / name, std::ios::binary);
  file << text;
  if (!file) throw std::runtime_error("cannot write " + (folder / name).string());
}

std::vector<Problem> Problems() {
  using testing::SmallProblem;
  return {SmallProblem(testing::DenseModel(), 2, WorkloadKind::kServe),
          SmallProblem(testing::MoeModel(), 4, WorkloadKind::kDecode, 8, {.fixed = {{"batch_size", "8"}}}),
          SmallProblem(testing::IndexerModel(), 2, WorkloadKind::kDecode),
          SmallProblem(testing::MixedWindowModel(), 2, WorkloadKind::kPrefill),
          SmallProblem(testing::LinearModel(), 2, WorkloadKind::kDecode)};
}

/// A plan, its strategy and its journal, of a search so short that they stay small.
void WriteSearch(const fs::path& folder, const std::string& name, const Problem& problem) {
  SearcherRegistry searchers;
  RegisterBuiltinSearchers(searchers);
  EvaluatorRegistry evaluators;
  RegisterBuiltinEvaluators(evaluators);
  SearchRequest request;
  request.searcher = "random";
  request.budget = 3;
  SearchReport report = RunSearch(problem, request, searchers, evaluators);
  if (!report.plan) throw std::runtime_error(name + ": no plan");
  report.plan->breakdown.rows.resize(1);
  Write(folder / "plan", name, ordered_json::parse(ToJson(*report.plan)).dump());
  Write(folder / "strategy", name, ToJson(report.best->strategy));
  const fs::path journal = folder / "journal" / name;
  fs::create_directories(journal.parent_path());
  Journal::Create(journal.string(), {"problem", "configuration", "build"})
      ->Append({{report.best->strategy, report.best->evaluation}, {Strategy{}, Evaluation{}}});
}

/// Property names and the texts of enumerations.
void CollectWords(const ordered_json& schema, std::set<std::string>& words) {
  if (schema.is_array()) {
    for (const auto& element : schema) CollectWords(element, words);
  }
  if (!schema.is_object()) return;
  for (const auto& item : schema.items()) {
    if (item.key() == "properties") {
      for (const auto& property : item.value().items()) words.insert(property.key());
    }
    if (item.key() == "enum") {
      for (const auto& value : item.value()) {
        if (value.is_string()) words.insert(value.get<std::string>());
      }
    }
    CollectWords(item.value(), words);
  }
}

void WriteDictionary(const fs::path& folder) {
  const SearcherRegistry searchers = testing::AllSearchers();
  std::set<std::string> words;
  for (const SpecKind kind : kSpecKinds) CollectWords(ordered_json::parse(SchemaJson(kind, searchers)), words);
  std::string text;
  for (const std::string& word : words) {
    if (word.size() < 64) text += "\"" + word + "\"\n";
  }
  Write(folder, "words.dict", text);
}

void WriteAll(const fs::path& folder) {
  int number = 0;
  for (const Problem& problem : Problems()) {
    const std::string name = std::to_string(number++) + ".json";
    WriteSearch(folder, name, problem);
    Write(folder / "problem", name, ToJson(problem));
  }
  for (const testing::Document& document : testing::GoodDocuments()) {
    if (document.kind == SpecKind::kSearch) Write(folder / "search", document.name + ".json", document.json.dump());
    if (document.kind == SpecKind::kWorkload) Write(folder / "workload", document.name + ".json", document.json.dump());
  }
  const std::vector<std::string> flags = {"0tensor_parallel_size=2",
                                          "0shardings.qkv=heads",
                                          "0overlap=none",
                                          "1annealing.patience=100",
                                          "1ppo.clip_range=0.1",
                                          "2int4",
                                          "350ms",
                                          "3none",
                                          "4vllm@0.24",
                                          "5latency",
                                          "6megatron",
                                          "7cluster"};
  for (std::size_t i = 0; i < flags.size(); ++i) Write(folder / "flags", std::to_string(i), flags[i]);
  WriteDictionary(folder);
}

}  // namespace
}  // namespace shardscout::fuzz

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: write_seeds FOLDER\n";
    return 2;
  }
  shardscout::fuzz::WriteAll(argv[1]);
  return 0;
}
