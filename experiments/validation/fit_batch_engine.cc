// Fits what an engine of static batches adds to each layer of each step (BatchEngineOf) to its published records, and
// prints the error of each model by a fit to the others. README.md has the command and the figures.

#include <CLI/CLI.hpp>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "experiments/guarded_main.h"
#include "experiments/validation/prediction_error.h"
#include "experiments/validation/published_prediction.h"

namespace shardscout::validation {
namespace {

constexpr double kCandidateStep = 1e-6;  // Seconds.
constexpr std::size_t kNumCandidates = 201;

/// A record, and what is predicted of it by each candidate for the gap.
struct Row {
  std::string model;
  double measured = 0;
  std::vector<double> predicted;
};

/// nullopt: it is not predicted, or not as a static batch.
std::optional<Row> RowOf(const PublishedRecord& record) {
  std::string why_not;
  const auto setup = SetupOf(record, why_not);
  if (!setup || setup->load.kind != LoadKind::kStaticBatch || record.value <= 0) return std::nullopt;
  Row row{.model = record.model, .measured = record.value, .predicted = {}};
  for (std::size_t c = 0; c < kNumCandidates; ++c) {
    const EngineModel engine{.layer_gap_s = static_cast<double>(c) * kCandidateStep};
    const auto figures = PredictStaticBatch(record, *setup, engine, why_not);
    const auto value = figures ? MetricOf(record, *setup, *figures) : std::nullopt;
    if (!value) return std::nullopt;
    row.predicted.push_back(*value);
  }
  return row;
}

/// Mean absolute error of the rows that `of` takes.
template <class Of>
double ErrorOf(const std::vector<Row>& rows, std::size_t candidate, Of of) {
  std::vector<double> measured, predicted;
  for (const Row& row : rows) {
    if (!of(row)) continue;
    measured.push_back(row.measured);
    predicted.push_back(row.predicted[candidate]);
  }
  return SummariseErrors(measured, predicted).mean;
}

template <class Of>
std::size_t Best(const std::vector<Row>& rows, Of of) {
  std::size_t best = 0;
  for (std::size_t c = 1; c < kNumCandidates; ++c) {
    if (ErrorOf(rows, c, of) < ErrorOf(rows, best, of)) best = c;
  }
  return best;
}

int Main(int argc, char** argv) {
  CLI::App app("What an engine of static batches adds to a layer, fitted to published records");
  std::string path, framework = "FasterTransformer";
  app.add_option("--records", path, "A table of records, such as data/published/measurements.jsonl")->required();
  app.add_option("--framework", framework, "Whose, by the beginning of its name [FasterTransformer]");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? EXIT_SUCCESS : 2;
  }
  std::vector<Row> rows;
  std::set<std::string> models;
  for (const PublishedRecord& record : ReadPublishedRecords(path)) {
    if (!record.framework.starts_with(framework)) continue;
    if (auto row = RowOf(record)) rows.push_back(*std::move(row));
  }
  for (const Row& row : rows) models.insert(row.model);
  const auto all = [](const Row&) { return true; };
  const std::size_t chosen = Best(rows, all);
  std::printf("%s: %zu us a layer: mean error %.1f %% over %zu records; none: %.1f %%\n", framework.c_str(), chosen,
              100 * ErrorOf(rows, chosen, all), rows.size(), 100 * ErrorOf(rows, 0, all));
  for (const std::string& model : models) {
    const auto left_out = [&](const Row& row) { return row.model == model; };
    const std::size_t c = Best(rows, [&](const Row& row) { return row.model != model; });
    std::printf("  without %s: %zu us; mean error there %.1f %%; none: %.1f %%\n", model.c_str(), c,
                100 * ErrorOf(rows, c, left_out), 100 * ErrorOf(rows, 0, left_out));
  }
  return EXIT_SUCCESS;
}

}  // namespace
}  // namespace shardscout::validation

int main(int argc, char** argv) {
  return shardscout::GuardedMain([&] { return shardscout::validation::Main(argc, argv); });
}
