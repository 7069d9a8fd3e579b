#include "experiments/validation/published_report.h"

#include <algorithm>
#include <iomanip>
#include <map>
#include <ostream>
#include <sstream>
#include <string_view>
#include <utility>

#include "experiments/validation/prediction_error.h"
#include "experiments/validation/published_copies.h"
#include "shardscout/plan.h"
#include "src/export/csv.h"

namespace shardscout::validation {
namespace {

/// Measured and predicted values of a part of the records.
struct Pairs {
  std::vector<double> measured, predicted;
  void Add(double measured_value, double predicted_value) {
    measured.push_back(measured_value);
    predicted.push_back(predicted_value);
  }
  ErrorSummary Summary() const { return SummariseErrors(measured, predicted); }
};

struct Part {
  Pairs all, stated;
};

std::string Percent(double share) {
  std::ostringstream text;
  text << std::fixed << std::setprecision(1) << 100 * share << " %";
  return text.str();
}

void PrintErrors(std::ostream& out, const ErrorSummary& errors) {
  out << std::setw(7) << errors.count;
  if (errors.count == 0) {
    out << std::setw(30) << "";
    return;
  }
  out << std::setw(10) << Percent(errors.mean) << std::setw(10) << Percent(errors.median) << std::setw(10)
      << (errors.median_signed > 0 ? "+" : "") + Percent(errors.median_signed);
}

void PrintParts(std::ostream& out, const std::string& title, const std::map<std::string, Part>& parts) {
  constexpr int kNameWidth = 44;
  out << std::left << std::setw(kNameWidth) << title << std::right;
  for (const char* which : {"stated", "all"}) {
    out << std::setw(7) << which << std::setw(10) << "mean" << std::setw(10) << "median" << std::setw(10) << "signed";
  }
  out << "\n";
  for (const auto& [name, part] : parts) {
    out << std::left << std::setw(kNameWidth) << name.substr(0, kNameWidth - 1) << std::right;
    PrintErrors(out, part.stated.Summary());
    PrintErrors(out, part.all.Summary());
    out << "\n";
  }
  out << "\n";
}

std::string Size(const std::optional<std::int64_t>& size) { return size ? std::to_string(*size) : "?"; }

std::string MappingOf(const PublishedRecord& record) {
  return "tp" + Size(record.tensor_parallel) + " pp" + Size(record.pipeline_parallel) + " ep" +
         Size(record.expert_parallel) + " dp" + Size(record.data_parallel);
}

std::string Joined(const std::vector<std::string>& texts) {
  std::string joined;
  for (const std::string& text : texts) joined += (joined.empty() ? "" : "; ") + text;
  return joined;
}

void PrintRanking(std::ostream& out, const RankingSummary& ranking) {
  if (ranking.groups == 0) return;
  out << "choice of the mapping on the same GPUs, " << ranking.groups << " groups: mean tau " << std::fixed
      << std::setprecision(2) << ranking.mean_tau << ", mean regret " << Percent(ranking.mean_regret)
      << ", the best chosen in " << ranking.chosen_best << "\n";
}

void PrintFits(std::ostream& out, const FitSummary& fits) {
  out << "out of memory: " << fits.predicted_so << " of " << fits.out_of_memory << " predicted so; of " << fits.ran
      << " records that ran, " << fits.wrongly_infeasible << " predicted not to fit\n";
}

}  // namespace

RankingSummary RankingOf(const std::vector<PublishedRecord>& records,
                         const std::vector<PublishedPrediction>& predictions) {
  struct Mapping {
    double measured = 0, predicted = 0, count = 0;
  };
  std::map<std::string, std::map<std::string, Mapping>> groups;
  for (std::size_t i = 0; i < records.size(); ++i) {
    const PublishedRecord& record = records[i];
    if (record.group_kind != "ranking_same_gpus" || !predictions[i].value) continue;
    // BF16 and FP16 are alike.
    const std::string format = record.dtype == "BF16" ? "FP16" : record.dtype;
    Mapping& mapping =
        groups[record.group + "|" + record.metric + "|" + format + "|" + Size(record.n_gpus)][MappingOf(record)];
    const bool time = IsTime(record.metric);
    mapping.measured += time ? record.value : 1 / record.value;
    mapping.predicted += time ? *predictions[i].value : 1 / *predictions[i].value;
    ++mapping.count;
  }
  RankingSummary ranking;
  for (const auto& [name, mappings] : groups) {
    if (mappings.size() < 2) continue;
    Pairs costs;
    for (const auto& [key, mapping] : mappings) {
      costs.Add(mapping.measured / mapping.count, mapping.predicted / mapping.count);
    }
    const double regret = Regret(costs.measured, costs.predicted);
    ++ranking.groups;
    ranking.mean_tau += KendallTau(costs.measured, costs.predicted);
    ranking.mean_regret += regret;
    ranking.chosen_best += regret == 0 ? 1 : 0;
  }
  if (ranking.groups > 0) {
    ranking.mean_tau /= static_cast<double>(ranking.groups);
    ranking.mean_regret /= static_cast<double>(ranking.groups);
  }
  return ranking;
}

FitSummary FitsOf(const std::vector<PublishedRecord>& records, const std::vector<PublishedPrediction>& predictions) {
  FitSummary fits;
  for (std::size_t i = 0; i < records.size(); ++i) {
    const PublishedPrediction& prediction = predictions[i];
    if (records[i].metric == "out_of_memory") {
      if (!prediction.reason.empty()) continue;
      ++fits.out_of_memory;
      fits.predicted_so += prediction.fits ? 0 : 1;
    } else if (prediction.value || !prediction.fits) {
      ++fits.ran;
      fits.wrongly_infeasible += prediction.fits ? 0 : 1;
    }
  }
  return fits;
}

void PrintPublished(std::ostream& out, const std::vector<PublishedRecord>& records,
                    const std::vector<PublishedPrediction>& predictions) {
  std::map<std::string, Part> models, hardware, frameworks, phases, metrics, whole;
  std::map<std::string, std::size_t> reasons;
  const Copies copies = FindCopies(records);
  for (std::size_t i = 0; i < records.size(); ++i) {
    const PublishedRecord& record = records[i];
    const PublishedPrediction& prediction = predictions[i];
    if (!prediction.value) {
      if (!prediction.reason.empty()) ++reasons[prediction.reason];
      continue;
    }
    std::vector<Part*> parts = {&models[record.model.substr(record.model.rfind('/') + 1) + ", " + record.dtype],
                                &hardware[record.hardware],
                                &frameworks[record.framework],
                                &phases[record.phase],
                                &metrics[record.metric],
                                &whole["all"]};
    if (!copies.shown[i]) parts.push_back(&whole["all, without copied digits"]);
    for (Part* part : parts) {
      part->all.Add(record.value, *prediction.value);
      if (prediction.unstated.empty()) part->stated.Add(record.value, *prediction.value);
    }
  }
  PrintParts(out, "model", models);
  PrintParts(out, "hardware", hardware);
  PrintParts(out, "framework", frameworks);
  PrintParts(out, "phase", phases);
  PrintParts(out, "metric", metrics);
  PrintParts(out, "", whole);
  for (const Copies::Pair& pair : copies.evidence) {
    out << "the same digits: " << pair.records << " records of " << pair.model << " on " << pair.hardware << " and on "
        << pair.other_hardware << "\n";
  }
  PrintRanking(out, RankingOf(records, predictions));
  PrintFits(out, FitsOf(records, predictions));
  out << "\nnot predicted:\n";
  for (const auto& [reason, count] : reasons) out << std::setw(6) << count << "  " << reason << "\n";
}

std::string PublishedCsv(const std::vector<PublishedRecord>& records,
                         const std::vector<PublishedPrediction>& predictions) {
  std::string csv;
  exporters::AddRow(
      csv, {"id", "group", "group_kind", "phase", "model", "framework", "hardware", "dtype", "mapping", "gpus",
            "input_tokens", "output_tokens", "load", "metric", "value", "predicted", "fits", "unstated", "reason"});
  for (std::size_t i = 0; i < records.size(); ++i) {
    const PublishedRecord& record = records[i];
    const PublishedPrediction& prediction = predictions[i];
    exporters::AddRow(
        csv, {record.id, record.group, record.group_kind, record.phase, record.model, record.framework, record.hardware,
              record.dtype, MappingOf(record), Size(record.n_gpus), Size(record.input_tokens),
              Size(record.output_tokens), record.load, record.metric, exporters::Shortest(record.value),
              prediction.value ? exporters::Shortest(*prediction.value) : "", prediction.fits ? "yes" : "no",
              Joined(prediction.unstated), prediction.reason});
  }
  return csv;
}

void ValidatePublished(std::ostream& out, const std::string& path, const std::string& only, const std::string& csv) {
  std::vector<PublishedRecord> records = ReadPublishedRecords(path);
  std::erase_if(records, [&](const PublishedRecord& record) {
    return !IsInference(record) || record.id.find(only) == std::string::npos;
  });
  std::vector<PublishedPrediction> predictions(records.size());
#pragma omp parallel for schedule(dynamic, 1)
  for (std::size_t i = 0; i < records.size(); ++i) predictions[i] = Predict(records[i]);
  PrintPublished(out, records, predictions);
  if (!csv.empty()) WriteFileAtomically(csv, PublishedCsv(records, predictions));
}

}  // namespace shardscout::validation
