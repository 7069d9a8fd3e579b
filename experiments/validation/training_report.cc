#include "experiments/validation/training_report.h"

#include <cstdio>
#include <map>
#include <set>
#include <vector>

#include "experiments/validation/prediction_error.h"
#include "src/export/csv.h"

namespace shardscout::validation {
namespace {

struct Figures {
  std::vector<double> measured, predicted;

  void Add(double one_measured, double one_predicted) {
    measured.push_back(one_measured);
    predicted.push_back(one_predicted);
  }
};

/// Of runs that were reported not to fit, and of those that ran, how many are predicted not to.
struct MemoryVerdicts {
  int reported = 0, found = 0, ran = 0, wrong = 0;

  void Add(bool out_of_memory, bool predicted_so) {
    ++(out_of_memory ? reported : ran);
    if (predicted_so) ++(out_of_memory ? found : wrong);
  }
  std::string Text() const {
    return std::to_string(found) + " of " + std::to_string(reported) + " that were reported so are predicted so, and " +
           std::to_string(wrong) + " of " + std::to_string(ran) + " that ran";
  }
};

std::string Line(const std::string& name, const Figures& figures) {
  const ErrorSummary errors = SummariseErrors(figures.measured, figures.predicted);
  char text[160];
  std::snprintf(text, sizeof text, "%-44s%8zu%9.1f %%%9.1f %%%+9.1f %%\n", name.c_str(), errors.count,
                100 * errors.mean, 100 * errors.median, 100 * errors.median_signed);
  return text;
}

}  // namespace

std::string TrainingTable(std::span<const TrainingPoint> points, std::span<const TrainingPrediction> predictions) {
  std::map<std::string, Figures> sets, groups, memories;
  std::map<std::string, int> missing;
  std::map<std::string, std::set<std::string>> clusters;
  for (const TrainingPoint& point : points) clusters[point.set].insert(point.cluster.name);
  // What CUDA offers, which runs may have filled, and what plans may use unless a workload says otherwise.
  MemoryVerdicts device, plan;
  for (std::size_t i = 0; i < points.size(); ++i) {
    const TrainingPoint& point = points[i];
    if (!predictions[i].why_not.empty()) {
      ++missing[predictions[i].why_not.substr(0, predictions[i].why_not.find(" after "))];
      continue;
    }
    const double bytes = predictions[i].evaluation.memory.TotalBytes(), hbm_bytes = point.cluster.device.hbm_bytes;
    device.Add(point.out_of_memory, bytes > point.workload.memory_fraction * hbm_bytes);
    plan.Add(point.out_of_memory, bytes > WorkloadSpec{}.memory_fraction * hbm_bytes);
    if (point.out_of_memory) continue;
    const double step_s = predictions[i].evaluation.metrics.step_time_s;
    const auto add = [&](Figures& figures) { figures.Add(point.step_s, step_s); };
    const bool by_cluster = clusters[point.set].size() > 1;
    const std::string on_cluster = point.set + ", " + point.cluster.name;
    add(sets[point.set]);
    add(sets[point.set + ", tp " + std::to_string(point.tensor_parallel)]);
    add(sets[point.set + ", pp " + std::to_string(point.pipeline_parallel)]);
    if (by_cluster) add(sets[on_cluster]);
    if (point.model.HasMoe()) add(sets[point.set + ", experts"]);
    if (point.recomputation == Recomputation::kSelective) add(sets[point.set + ", selective recomputation"]);
    if (!point.group.empty()) add(groups[point.group]);
    if (point.memory_bytes > 0) {
      memories[point.set].Add(point.memory_bytes, bytes);
      if (by_cluster) memories[on_cluster].Add(point.memory_bytes, bytes);
    }
  }
  std::string text = "                                              points     mean    median    signed\n";
  for (const auto& [name, figures] : sets) text += Line(name, figures);
  if (!memories.empty()) text += "\nbytes of the fullest device\n";
  for (const auto& [name, figures] : memories) text += Line(name, figures);
  std::size_t count = 0;
  double regret = 0, tau = 0, worst = 0;
  std::string by_group =
      "\nchoice of the split                                               points   regret      tau\n";
  for (const auto& [name, figures] : groups) {
    if (figures.measured.size() < 2) continue;
    ++count;
    const double lost = Regret(figures.measured, figures.predicted);
    const double order = KendallTau(figures.measured, figures.predicted);
    regret += lost;
    worst = std::max(worst, lost);
    tau += order;
    char line[200];
    std::snprintf(line, sizeof line, "%-64.64s%8zu%7.1f %%%9.2f\n", name.c_str(), figures.measured.size(), 100 * lost,
                  order);
    by_group += line;
  }
  if (count > 0) {
    constexpr std::size_t kListed = 20;
    text += count <= kListed ? by_group : "\n";
    const auto n = static_cast<double>(count);
    char line[200];
    std::snprintf(line, sizeof line, "%zu groups: mean regret %.1f %%, largest %.1f %%, mean tau %.2f\n", count,
                  100 * regret / n, 100 * worst, tau / n);
    text += line;
  }
  text += "out of memory: " + device.Text() + "\n";
  if (plan.reported > 0) {
    char fraction[80];
    std::snprintf(fraction, sizeof fraction, "  in the %.0f %% that plans use: ", 100 * WorkloadSpec{}.memory_fraction);
    text += fraction + plan.Text() + "\n";
  }
  for (const auto& [why, times] : missing) text += "not predicted: " + std::to_string(times) + "  " + why + "\n";
  return text;
}

std::string TrainingCsv(std::span<const TrainingPoint> points, std::span<const TrainingPrediction> predictions) {
  std::string csv =
      "set,group,tp,pp,dp,micro_batch,strategy,measured_s,predicted_s,measured_bytes,memory_bytes,why_not\n";
  for (std::size_t i = 0; i < points.size(); ++i) {
    const TrainingPoint& p = points[i];
    const TrainingPrediction& prediction = predictions[i];
    char numbers[160];
    std::snprintf(numbers, sizeof numbers, "%.6g,%.6g,%.6g,%.6g", p.step_s, prediction.evaluation.metrics.step_time_s,
                  p.memory_bytes, prediction.evaluation.memory.TotalBytes());
    csv += p.set + ",\"" + p.group + "\"," + std::to_string(p.tensor_parallel) + "," +
           std::to_string(p.pipeline_parallel) + "," + std::to_string(p.data_parallel) + "," +
           std::to_string(p.micro_batch) + "," + ToShortString(prediction.strategy) + "," + numbers + ",\"" +
           prediction.why_not + "\"\n";
  }
  return csv;
}

}  // namespace shardscout::validation
