#include "env/comparison_results.h"

#include <nlohmann/json.hpp>
#include <string_view>

#include "shardscout/error.h"
#include "src/json/fields.h"
#include "src/json/json_text.h"

namespace shardscout {

template <class V>
void VisitFields(V& visit, Improvement& improvement) {
  visit("evaluation", improvement.evaluation, {.min = 1, .required = true});
  visit("reward", improvement.reward, {.required = true});
}

template <class V>
void VisitFields(V& visit, ComparisonRun& run) {
  visit("problem", run.problem, {.required = true});
  visit("searcher", run.searcher, {.required = true});
  visit("seed", run.seed, {.min = 0, .required = true});
  visit("status", run.status, {.required = true});
  visit("evaluations", run.evaluations, {.min = 0, .required = true});
  visit("feasible_evaluations", run.feasible_evaluations, {.min = 0, .required = true});
  visit("value", run.value, {.min = 0, .required = true});
  visit("improvements", run.improvements, {.required = true});
  visit("wall_s", run.wall_s, {.min = 0, .required = true});
}

namespace env {

template <class V>
void VisitFields(V& visit, ResultsHeader& header) {
  visit("suite_digest", header.suite_digest, {.required = true});
  visit("build", header.build, {.required = true});
}

template <class V>
void VisitFields(V& visit, OptimumRecord& record) {
  visit("problem", record.problem, {.required = true});
  visit("time_limit_s", record.time_limit_s, {.min = 0, .required = true});
  visit("kind", record.kind, {.required = true});
  visit("reward", record.reward, {.min = 0, .required = true});
  visit("value", record.value, {.min = 0, .required = true});
  visit("wall_s", record.wall_s, {.min = 0, .required = true});
}

template <class V>
void VisitFields(V& visit, RunRecord& record) {
  visit("configuration_digest", record.configuration_digest, {.required = true});
  VisitFields(visit, record.run);
}

namespace {

struct HeaderLine {
  ResultsHeader header;
};

template <class V>
void VisitFields(V& visit, HeaderLine& line) {
  visit("header", line.header, {.required = true});
}

struct OptimumLine {
  OptimumRecord optimum;
};

template <class V>
void VisitFields(V& visit, OptimumLine& line) {
  visit("optimum", line.optimum, {.required = true});
}

struct RunLine {
  RunRecord run;
};

template <class V>
void VisitFields(V& visit, RunLine& line) {
  visit("run", line.run, {.required = true});
}

constexpr std::string_view kBeginning = "{\"header\":";

template <class T>
std::string ToLine(const T& line) {
  return json::WriteJson(line).dump() + "\n";
}

LineFileWords ResultsWords() {
  return {"the file of results", "another comparison is writing these results", "the runs before are kept",
          "compare into another folder"};
}

}  // namespace

ComparisonResultsFile::ComparisonResultsFile(const std::string& path, const ResultsHeader& header, bool resume,
                                             std::vector<std::string>* warnings)
    : file_(path, ResultsWords()) {
  const bool begun = file_.Replay(
      kBeginning,
      [&](const std::string& line) {
        if (!resume) {
          throw SpecError(path,
                          "holds the results of an earlier comparison; go on from them with --resume, or give "
                          "another --out");
        }
        ReadHeader(line, header, warnings);
      },
      [&](const std::string& line) { ReadEntry(line); }, warnings);
  if (!begun) file_.Append(ToLine(HeaderLine{header}));
}

void ComparisonResultsFile::ReadHeader(const std::string& line, const ResultsHeader& expected,
                                       std::vector<std::string>* warnings) const {
  ResultsHeader found;
  try {
    found = json::ReadJson<HeaderLine>(json::ParseText(line, file_.path()), file_.path()).header;
  } catch (const SpecError& error) {
    throw SpecError(file_.path() + " line 1",
                    std::string("not the header of a comparison (") + error.what() + "); give another --out");
  }
  if (found.suite_digest != expected.suite_digest) {
    throw SpecError(file_.path(),
                    "holds the results of another suite (its problems, evaluator, budget or start; digest " +
                        found.suite_digest + ", this one is " + expected.suite_digest +
                        "); give the same ones, or another --out");
  }
  if (found.build != expected.build && warnings != nullptr) {
    warnings->push_back(file_.path() + ": begun by another build (" + found.build + ", this one is " + expected.build +
                        "); its runs are reused, but may differ from what this one would find");
  }
}

void ComparisonResultsFile::ReadEntry(const std::string& line) {
  const nlohmann::json entry = json::ParseText(line, file_.path());
  if (entry.is_object() && entry.contains("optimum")) {
    OptimumRecord record = json::ReadJson<OptimumLine>(entry, file_.path()).optimum;
    optima_[record.problem] = std::move(record);
  } else {
    RunRecord record = json::ReadJson<RunLine>(entry, file_.path()).run;
    runs_[KeyOf(record.run, record.configuration_digest)] = std::move(record.run);
  }
}

ComparisonResultsFile::Key ComparisonResultsFile::KeyOf(const ComparisonRun& run,
                                                        const std::string& configuration_digest) {
  return {run.problem, run.searcher, configuration_digest, run.seed};
}

const OptimumRecord* ComparisonResultsFile::FindOptimum(const std::string& problem) const {
  const auto found = optima_.find(problem);
  return found == optima_.end() ? nullptr : &found->second;
}

const ComparisonRun* ComparisonResultsFile::FindRun(const ComparisonRun& key,
                                                    const std::string& configuration_digest) const {
  const auto found = runs_.find(KeyOf(key, configuration_digest));
  return found == runs_.end() ? nullptr : &found->second;
}

void ComparisonResultsFile::Append(const OptimumRecord& record) { file_.Append(ToLine(OptimumLine{record})); }

void ComparisonResultsFile::Append(const RunRecord& record) { file_.Append(ToLine(RunLine{record})); }

}  // namespace env
}  // namespace shardscout
