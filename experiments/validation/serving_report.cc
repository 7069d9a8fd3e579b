#include "experiments/validation/serving_report.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <iomanip>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "experiments/validation/prediction_error.h"
#include "experiments/validation/speculation.h"
#include "src/embedded_text.h"
#include "src/export/csv.h"
#include "src/export/html_page.h"

namespace shardscout::validation {
namespace {

using nlohmann::ordered_json;

/// Measured and predicted seconds of one metric.
struct Pairs {
  std::vector<double> measured, predicted;
  void Add(double measured_s, double predicted_s) {
    if (measured_s <= 0) return;
    measured.push_back(measured_s);
    predicted.push_back(predicted_s);
  }
  ErrorSummary Summary() const { return SummariseErrors(measured, predicted); }
};

struct Errors {
  Pairs ttft, tpot;
  void Add(const ServingPoint& point, const Evaluation& evaluation) {
    tpot.Add(point.tpot_s, evaluation.metrics.tpot_s);
    ttft.Add(point.ttft_s, evaluation.metrics.ttft_s);
  }
};

std::string Percent(double share) {
  std::ostringstream text;
  text << std::fixed << std::setprecision(1) << 100 * share << " %";
  return text.str();
}

void PrintRow(std::ostream& out, const std::string& name, const Errors& errors) {
  const ErrorSummary tpot = errors.tpot.Summary(), ttft = errors.ttft.Summary();
  out << std::left << std::setw(64) << name << std::right << std::setw(6) << tpot.count;
  for (const ErrorSummary& summary : {tpot, ttft}) {
    out << std::setw(10) << Percent(summary.mean) << std::setw(10) << Percent(summary.median) << std::setw(10)
        << (summary.median_signed > 0 ? "+" : "") + Percent(summary.median_signed);
  }
  out << "\n";
}

const char* ModeOf(const ServingPoint& point) { return point.disaggregated ? "disagg" : "agg"; }

std::string FormatsOf(const ServingPoint& point) {
  return point.gemm_type.empty() ? "as the model's" : point.gemm_type + " " + point.moe_type;
}

/// Points that differ in their layout only: whether predictions order and choose as measurements do.
void PrintChoices(std::ostream& out, const std::vector<ServingPoint>& points,
                  const std::vector<Prediction>& predictions) {
  struct Group {
    std::set<std::string> layouts;
    Pairs tpot;
  };
  std::map<std::string, Group> groups;
  for (std::size_t i = 0; i < points.size(); ++i) {
    if (!predictions[i].evaluation) continue;
    Group& group = groups[GroupOf(points[i])];
    group.layouts.insert(DescribeLayout(points[i]));
    group.tpot.Add(points[i].tpot_s, predictions[i].evaluation->metrics.tpot_s);
  }
  double tau = 0, regret = 0;
  int count = 0;
  for (const auto& [name, group] : groups) {
    if (group.layouts.size() < 2) continue;
    ++count;
    tau += KendallTau(group.tpot.measured, group.tpot.predicted);
    regret += Regret(group.tpot.measured, group.tpot.predicted);
  }
  if (count == 0) return;
  out << "\nchoice of the layout by TPOT, " << count << " groups that differ in nothing else: mean regret "
      << Percent(regret / count) << ", mean tau " << std::fixed << std::setprecision(2) << tau / count << "\n";
}

/// Points that do not differ in anything that the table says: what they leave to any prediction, which is the same for
/// all of them. The least mean error of a group is that of its median.
void PrintSpread(std::ostream& out, const std::vector<ServingPoint>& points) {
  std::map<std::string, std::vector<const ServingPoint*>> settings;
  for (const ServingPoint& point : points) {
    settings[GroupOf(point) + DescribeLayout(point)].push_back(&point);
  }
  Pairs tpot, ttft;
  const auto add = [](Pairs& pairs, std::vector<const ServingPoint*> same, double ServingPoint::*metric) {
    std::sort(same.begin(), same.end(),
              [&](const ServingPoint* a, const ServingPoint* b) { return a->*metric < b->*metric; });
    for (const ServingPoint* point : same) pairs.Add(point->*metric, same[same.size() / 2]->*metric);
  };
  int repeated = 0, apart = 0;
  for (const auto& [name, same] : settings) {
    if (same.size() < 2) continue;
    ++repeated;
    const auto [least, most] = std::minmax_element(
        same.begin(), same.end(), [](const ServingPoint* a, const ServingPoint* b) { return a->tpot_s < b->tpot_s; });
    apart += (*most)->tpot_s > 1.3 * (*least)->tpot_s ? 1 : 0;
    add(tpot, same, &ServingPoint::tpot_s);
    add(ttft, same, &ServingPoint::ttft_s);
  }
  if (repeated == 0) return;
  out << "\nsettings that occur more than once: " << repeated << ", of which " << apart
      << " have TPOTs more than 1.3 apart; mean error that the best prediction leaves on them: TPOT "
      << Percent(tpot.Summary().mean) << ", TTFT " << Percent(ttft.Summary().mean) << "\n";
}

std::string NameOf(const ServingPoint& point) { return ModelNameOf(point) + ", " + point.system + ", " + point.engine; }

/// What points share that differ in their concurrency and the engine's version alone.
std::string SeriesOf(ServingPoint point) {
  point.concurrency = 0;
  point.engine_version.clear();
  return GroupOf(point) + DescribeLayout(point);
}

/// Of one pool and on other systems than gb200, of all and of each: all points, those that are not shown to have
/// speculated, and of these those that can be of one set-up.
void PrintTargets(std::ostream& out, const std::vector<ServingPoint>& points,
                  const std::vector<Prediction>& predictions) {
  const Speculation speculation = FindSpeculation(points);
  const std::vector<bool>& speculates = speculation.shown;
  std::vector<ServingPoint> plain;
  for (std::size_t i = 0; i < points.size(); ++i) {
    if (!speculates[i]) plain.push_back(points[i]);
  }
  const std::vector<bool> contradicts = ContradictsItself(plain);
  struct Series {
    std::set<std::string> all, contradicting;
    int speculative = 0;  ///< Points.
  };
  std::map<std::string, std::array<Errors, 3>> errors;
  std::map<std::string, Series> series;
  std::size_t asked = 0, predicted = 0, next_plain = 0;
  for (std::size_t i = 0; i < points.size(); ++i) {
    const ServingPoint& point = points[i];
    const bool contradicting = !speculates[i] && contradicts[next_plain];
    if (!speculates[i]) ++next_plain;
    if (point.disaggregated || point.system == "gb200") continue;
    ++asked;
    Series& of_name = series[NameOf(point)];
    if (speculates[i]) ++of_name.speculative;
    if (!speculates[i]) of_name.all.insert(SeriesOf(point));
    if (contradicting) of_name.contradicting.insert(SeriesOf(point));
    if (!predictions[i].evaluation) continue;
    ++predicted;
    for (const std::string& system : {std::string("all"), point.system}) {
      std::array<Errors, 3>& of_system = errors[system];
      of_system[0].Add(point, *predictions[i].evaluation);
      if (!speculates[i]) of_system[1].Add(point, *predictions[i].evaluation);
      if (!speculates[i] && !contradicting) of_system[2].Add(point, *predictions[i].evaluation);
    }
  }
  if (asked == 0) return;
  out << "\n"
      << asked << " points of one pool on other systems than gb200, predicted "
      << Percent(static_cast<double>(predicted) / static_cast<double>(asked)) << "\n";
  for (const auto& [system, of_system] : errors) {
    PrintRow(out, "  " + system, of_system[0]);
    PrintRow(out, "  " + system + ", without speculation that the table shows", of_system[1]);
    PrintRow(out, "  " + system + ", and without series that contradict themselves", of_system[2]);
  }
  for (const auto& [name, of_name] : series) {
    if (of_name.speculative > 0) out << "  speculated: " << of_name.speculative << " points of " << name << "\n";
  }
  for (const std::string& evidence : speculation.evidence) out << "    " << evidence << "\n";
  for (const auto& [name, of_name] : series) {
    if (of_name.contradicting.empty()) continue;
    out << "  contradict themselves: " << of_name.contradicting.size() << " of " << of_name.all.size()
        << " other series of " << name << "\n";
  }
}

}  // namespace

std::vector<bool> ContradictsItself(const std::vector<ServingPoint>& points) {
  std::map<std::string, std::vector<std::size_t>> series;
  for (std::size_t i = 0; i < points.size(); ++i) series[SeriesOf(points[i])].push_back(i);
  std::vector<bool> contradicts(points.size(), false);
  for (const auto& [name, members] : series) {
    bool falls = false;
    for (const std::size_t few : members) {
      for (const std::size_t many : members) {
        falls = falls ||
                (points[many].concurrency > points[few].concurrency && points[many].tpot_s < 0.9 * points[few].tpot_s);
      }
    }
    for (const std::size_t member : members) contradicts[member] = falls;
  }
  return contradicts;
}

std::string ServingTable(const std::vector<ServingPoint>& points, const std::vector<Prediction>& predictions) {
  std::ostringstream out;
  std::map<std::string, Errors> groups, all;
  std::map<std::string, int> reasons;
  for (std::size_t i = 0; i < points.size(); ++i) {
    const ServingPoint& point = points[i];
    if (!predictions[i].evaluation) {
      ++reasons[predictions[i].reason];
      continue;
    }
    const std::string mode = ModeOf(point);
    const std::string group = NameOf(point) + ", " + FormatsOf(point) + ", " + mode;
    for (Errors* errors : {&groups[group], &all["all " + mode + ", " + point.engine], &all["all " + mode],
                           &all["all " + mode + ", " + point.system]}) {
      errors->Add(point, *predictions[i].evaluation);
    }
  }
  out << std::setw(70) << "points" << std::setw(10) << "TPOT mean" << std::setw(10) << "median" << std::setw(10)
      << "signed" << std::setw(10) << "TTFT mean" << std::setw(10) << "median" << std::setw(10) << "signed"
      << "\n";
  for (const auto& [name, errors] : groups) PrintRow(out, name, errors);
  for (const auto& [name, errors] : all) PrintRow(out, name, errors);
  PrintTargets(out, points, predictions);
  PrintChoices(out, points, predictions);
  PrintSpread(out, points);
  out << "\nnot predicted:\n";
  for (const auto& [reason, count] : reasons) out << std::setw(6) << count << "  " << reason << "\n";
  return out.str();
}

std::string ServingCsv(const std::vector<ServingPoint>& points, const std::vector<Prediction>& predictions) {
  std::string csv;
  exporters::AddRow(
      csv, {"id", "model", "system", "engine", "formats", "mode", "input_tokens", "output_tokens", "concurrency",
            "layout", "ttft_s", "tpot_s", "predicted_ttft_s", "predicted_tpot_s", "reason"});
  for (std::size_t i = 0; i < points.size(); ++i) {
    const ServingPoint& point = points[i];
    const auto& evaluation = predictions[i].evaluation;
    exporters::AddRow(
        csv, {point.id, point.model, point.system, point.engine, FormatsOf(point), ModeOf(point),
              std::to_string(point.input_tokens), std::to_string(point.output_tokens),
              std::to_string(point.concurrency), DescribeLayout(point), exporters::Shortest(point.ttft_s),
              exporters::Shortest(point.tpot_s), evaluation ? exporters::Shortest(evaluation->metrics.ttft_s) : "",
              evaluation ? exporters::Shortest(evaluation->metrics.tpot_s) : "", predictions[i].reason});
  }
  return csv;
}

std::string ServingPage(const std::vector<ServingPoint>& points, const std::vector<Prediction>& predictions) {
  // By chart, then by engine: pairs of measured seconds and the ratio.
  std::map<std::string, std::map<std::string, ordered_json>> charts;
  const auto add = [&](const std::string& chart, const std::string& series, double measured_s, double predicted_s) {
    if (measured_s <= 0) return;
    ordered_json& drawn = charts[chart].try_emplace(series, ordered_json::array()).first->second;
    drawn.push_back({measured_s, predicted_s / measured_s});
  };
  for (std::size_t i = 0; i < points.size(); ++i) {
    if (!predictions[i].evaluation) continue;
    const Metrics& metrics = predictions[i].evaluation->metrics;
    const std::string where = points[i].system + ", " + ModeOf(points[i]);
    add("TPOT on " + where, points[i].engine, points[i].tpot_s, metrics.tpot_s);
    add("TTFT on " + where, points[i].engine, points[i].ttft_s, metrics.ttft_s);
  }
  std::string body =
      "<p class=\"note\">Each point is a measured serving point: the time, and how many times as long the prediction "
      "is. "
      "Those off by more than a factor of four lie at the edge.</p>\n";
  ordered_json families = ordered_json::array();
  for (const auto& [chart, by_engine] : charts) {
    const std::string id = "chart-" + std::to_string(families.size());
    body += "<section>\n<h2>" + exporters::Escaped(chart) + "</h2>\n" +
            exporters::ChartElement(id, "Predicted over measured " + chart) + "</section>\n";
    ordered_json series = ordered_json::array();
    for (const auto& [engine, drawn] : by_engine) series.push_back({{"type", engine}, {"points", drawn}});
    families.push_back({{"id", id}, {"series", series}});
  }
  return exporters::HtmlPage("Predictions beside measured serving points", body,
                             {{"families", families}, {"ratio", "predicted / measured"}},
                             internal::CalibrationPageJs());
}

}  // namespace shardscout::validation
