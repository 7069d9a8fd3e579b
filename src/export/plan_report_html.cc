#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "shardscout/comparison_report.h"
#include "shardscout/error.h"
#include "shardscout/plan_report.h"
#include "shardscout/reward.h"
#include "shardscout/strategy_space.h"
#include "src/embedded_text.h"
#include "src/export/html_page.h"
#include "src/export/plan_report_sections.h"
#include "src/export/plan_words.h"
#include "src/quantity_text.h"

namespace shardscout {
namespace exporters {
namespace {

using nlohmann::ordered_json;
using text::Bytes;
using text::Duration;
using text::Grouped;
using text::Number;
using text::Percent;

std::string Code(const std::string& text) { return "<code>" + Escaped(text) + "</code>"; }

std::string Card(const std::string& value, const std::string& what) {
  return "<div><b>" + value + "</b><span>" + what + "</span></div>\n";
}

std::string LimitText(const std::optional<double>& target) {
  return target ? ", at most " + Duration(*target) : std::string();
}

std::string Cards(const PlanReport& report) {
  const Evaluation& evaluation = report.plan.evaluation;
  const Metrics& metrics = evaluation.metrics;
  const WorkloadSpec& workload = report.problem.workload();
  std::string cards = "<div class=\"cards\">\n" +
                      Card(Number(metrics.throughput_per_device) + " tokens/s", "of a device, idle ones counted");
  if (workload.IsTraining()) {
    cards += Card(Duration(metrics.step_time_s), "a step");
    cards += Card(Percent(metrics.model_flops_utilisation), "model FLOP utilisation");
  } else if (workload.HasPhase(Phase::kPrefill)) {
    cards += Card(Duration(metrics.ttft_s), "to the first token" + LimitText(workload.ttft_target_s));
  }
  if (workload.HasPhase(Phase::kDecode)) {
    cards += Card(Duration(metrics.tpot_s), "per output token" + LimitText(workload.tpot_target_s));
  }
  cards += Card(Grouped(metrics.concurrency), workload.IsTraining() ? "sequences a step" : "requests at a time");
  cards += Card(Percent(evaluation.memory.TotalBytes() / evaluation.memory.limit_bytes),
                "of the memory that may be used, " + Bytes(evaluation.memory.limit_bytes));
  if (metrics.cost_usd_per_million_tokens > 0) {
    cards += Card(Number(metrics.cost_usd_per_million_tokens) + " USD", "per million tokens");
  }
  if (metrics.idle_devices > 0) cards += Card(Grouped(metrics.idle_devices), "devices idle");
  return cards + "</div>\n";
}

/// How sure one may be that there is nothing better.
std::string ProofText(const PlanReport& report) {
  const std::optional<Certificate>& own = report.plan.certificate;
  if (own && own->gap <= 0)
    return "Nothing is better: this is proved to be the optimum of " + Escaped(own->space) + ".";
  if (report.optimum && report.optimum_certificate) {
    const std::string distance = ComparedWith(report.problem, report.plan.evaluation, report.optimum->evaluation);
    const bool proved = report.optimum_certificate->gap <= 0;
    if (proved && distance == "equal") return "Nothing is better: the proved optimum has the same value.";
    return std::string(proved ? "The proved optimum" : "The best that is known (its proof did not finish)") +
           " is in the table below; this plan is " + distance + ".";
  }
  return "What the optimum is, is not known.";
}

std::string Summary(const PlanReport& report) {
  const Problem& problem = report.problem;
  const ClusterSpec& cluster = problem.cluster();
  const Evaluation& evaluation = report.plan.evaluation;
  std::string section = "<p class=\"lead\">" + Escaped(problem.model().name) + " on " + Grouped(cluster.num_devices) +
                        " x " + Escaped(cluster.device.name) + " (" + Escaped(cluster.name) + ", " +
                        Grouped(cluster.devices_per_node) + " a node), " + Escaped(problem.workload().name) + ": " +
                        Escaped(WorkloadText(problem.workload())) + "; objective " +
                        std::string(ToString(problem.workload().objective)) + ".</p>\n";
  section += Cards(report);
  section += "<p>Predicted: " + ObjectiveText(problem, evaluation);
  if (report.megatron) {
    section += ", " + ComparedWith(problem, evaluation, report.megatron->evaluation, "the Megatron rule");
    if (!report.megatron->evaluation.Feasible()) section += " (which breaks a limit)";
  }
  section += ". " + (report.megatron ? ProofText(report) : std::string()) + "</p>\n";
  if (!evaluation.Feasible()) {
    section += "<p class=\"wrong\">This strategy breaks its limits: " +
               Escaped(DescribeViolations(evaluation, problem.workload())) + "</p>\n";
  }
  return section;
}

std::string LatencyCell(double latency_s, double excess) {
  return excess > 0 ? "<span class=\"bad\">" + Duration(latency_s) + "</span>" : Duration(latency_s);
}

std::string RivalsSection(const PlanReport& report) {
  if (!report.megatron) return "";
  const WorkloadSpec& workload = report.problem.workload();
  std::vector<std::vector<std::string>> rows;
  const auto add = [&](const std::string& name, const Strategy& strategy, const Evaluation& evaluation) {
    const Metrics& metrics = evaluation.metrics;
    std::vector<std::string> row = {name, ObjectiveText(report.problem, evaluation),
                                    ComparedWith(report.problem, evaluation, report.plan.evaluation)};
    if (workload.IsTraining()) {
      row.push_back(Duration(metrics.step_time_s));
    } else if (workload.HasPhase(Phase::kPrefill)) {
      row.push_back(LatencyCell(metrics.ttft_s, evaluation.excess.ttft));
    }
    if (workload.HasPhase(Phase::kDecode)) row.push_back(LatencyCell(metrics.tpot_s, evaluation.excess.tpot));
    row.push_back(Grouped(metrics.concurrency));
    row.push_back(Bytes(evaluation.memory.TotalBytes()));
    row.push_back(Code(ToShortString(strategy)));
    rows.push_back(row);
  };
  add("this plan", report.plan.pools.front().strategy, report.plan.evaluation);
  rows.back()[2] = "-";
  if (report.optimum) {
    const bool proved = report.optimum_certificate && report.optimum_certificate->gap <= 0;
    add(proved ? "proved optimum" : "best known", report.optimum->strategy, report.optimum->evaluation);
  } else if (report.plan.certificate && report.plan.certificate->gap <= 0) {
    rows.back()[0] = "this plan, the proved optimum";
  }
  add(report.megatron->evaluation.Feasible() ? "Megatron rule" : "Megatron rule, infeasible", report.megatron->strategy,
      report.megatron->evaluation);
  std::vector<std::string> header = {"", "objective", "against this plan"};
  if (workload.HasPhase(Phase::kPrefill)) header.emplace_back(workload.IsTraining() ? "step" : "TTFT");
  if (workload.HasPhase(Phase::kDecode)) header.emplace_back("TPOT");
  for (const char* name : {"requests", "memory", "<strategy"}) header.emplace_back(name);
  std::string section = "<section>\n<h2>Against Megatron's rule and the optimum</h2>\n" + TableElement(header, rows);
  if (report.optimum_certificate && report.optimum_certificate->gap > 0) {
    section += "<p class=\"note\">The proof ended early: no strategy is more than " +
               Percent(report.optimum_certificate->gap) + " better than the best known.</p>\n";
  }
  return section + "</section>\n";
}

std::string SearchSection(const PlanReport& report) {
  const SearchProvenance& search = report.plan.search;
  if (search.searcher.empty()) return "";
  std::string section = "<section>\n<h2>The search</h2>\n<p>" + Escaped(search.searcher) + " with the " +
                        Escaped(search.evaluator) + " evaluator, seed " + std::to_string(search.seed) + ": " +
                        Escaped(search.status) + " after " + Grouped(search.evaluations) + " of " +
                        Grouped(search.budget) + " evaluations, of which " + Grouped(search.feasible_evaluations) +
                        " kept all limits. The space has " + (search.space_exact ? "" : "at least ") +
                        Number(search.space_strategies) + " strategies.</p>\n";
  if (search.screen) {
    section += "<p>" + Escaped(search.screen->evaluator) + " chose " + Grouped(search.screen->kept) + " of " +
               Grouped(search.screen->evaluations) + " first; of this plan it says " +
               Number(search.screen->objective) + ", the final evaluator " +
               (search.screen->difference < 0 ? "" : "+") + Percent(search.screen->difference) + ".</p>\n";
  }
  if (report.best_so_far.size() > 1) {
    section += ChartElement("convergence",
                            "Best objective found so far, as a multiple of the Megatron rule's, over "
                            "the evaluations spent");
  }
  return section + "</section>\n";
}

std::string FrontSection(const PlanReport& report) {
  if (!report.front || report.front->points.empty()) return "";
  const WorkloadSpec& workload = report.problem.workload();
  const bool prefill = workload.kind == WorkloadKind::kPrefill;
  const char* latency = prefill ? "TTFT" : "TPOT";
  std::vector<std::vector<std::string>> rows;
  for (const ParetoPoint& point : report.front->points) {
    const Metrics& metrics = point.evaluation.metrics;
    rows.push_back({Duration(LatencyOf(point.evaluation, workload)), Number(metrics.throughput_per_device),
                    Grouped(metrics.concurrency), Bytes(point.evaluation.memory.TotalBytes()),
                    point.evaluation.Feasible() ? "kept" : "<span class=\"bad\">missed</span>",
                    Code(ToShortString(point.strategy))});
  }
  return "<section>\n<h2>Faster for one, or more for all</h2>\n<p>" +
         Grouped(static_cast<std::int64_t>(report.front->points.size())) +
         " strategies that no other one beats in both throughput per device and " + latency +
         ", whatever the target of " + latency + "; " +
         (report.front->proved ? "proved to be all of them" : "not proved to be all of them") +
         ". <a download=\"front.csv\" href=\"data:text/csv;charset=utf-8," +
         PercentEncoded(ParetoCsv(report.problem, *report.front)) + "\">As CSV</a></p>\n" +
         ChartElement("front", std::string("Throughput per device against ") + latency) +
         FoldedElement("All " + std::to_string(rows.size()) + " of them",
                       TableElement({latency, "tokens/s/device", "requests", "memory", "targets", "<strategy"}, rows)) +
         "</section>\n";
}

std::string MovedText(const Alternative& other) {
  std::string words;
  for (const MovedVariable& moved : other.also) {
    words += (words.empty() ? "" : ", ") + VariableName(moved.variable) + " " + ValueName(moved.variable, moved.to);
  }
  return words;
}

std::string AlternativesElement(const PlanReport& report) {
  const Strategy& own = report.plan.pools.front().strategy;
  std::vector<std::vector<std::string>> sizes, shardings;
  std::string impossible;
  for (const Alternative& other : report.alternatives) {
    std::vector<std::vector<std::string>>& rows = IsSharding(other.variable) ? shardings : sizes;
    if (!other.nearest) {
      impossible += (impossible.empty() ? "" : ", ") +
                    Code(VariableName(other.variable) + " " + ValueName(other.variable, other.value));
      continue;
    }
    std::string why;
    if (!other.broken_rule.empty()) {
      why = "Not valid: " + Escaped(other.broken_rule) + ". ";
      why += "With " + Escaped(MovedText(other)) + ": ";
    }
    if (other.nearest->evaluation.Feasible()) {
      why += ObjectiveText(report.problem, other.nearest->evaluation) + ", " +
             ComparedWith(report.problem, other.nearest->evaluation, report.plan.evaluation);
    } else {
      why += "breaks " + Escaped(DescribeViolations(other.nearest->evaluation, report.problem.workload()));
    }
    rows.push_back({Code(VariableName(other.variable)),
                    Code(ValueName(other.variable, GetVariable(own, other.variable))),
                    Code(ValueName(other.variable, other.value)), why});
  }
  const std::vector<std::string> header = {"decision", "chosen", "instead", "<what comes of it"};
  std::string element =
      "<p>Each decision changed alone: sizes to the next smaller and larger one, all else to every "
      "other value.</p>\n";
  if (!sizes.empty()) element += TableElement(header, sizes);
  if (!shardings.empty()) {
    element += FoldedElement(std::to_string(shardings.size()) + " other ways to split an operator",
                             TableElement(header, shardings));
  }
  if (!impossible.empty()) element += "<p class=\"note\">No valid strategy has " + impossible + ".</p>\n";
  return element;
}

std::string FrameworksElement(const PlanReport& report) {
  if (report.frameworks.empty()) return "";
  std::string list = "<h3>What frameworks make of it</h3>\n<ul>\n";
  for (const FrameworkAnswer& answer : report.frameworks) {
    list += "<li><b>" + Escaped(answer.target) + "</b>: ";
    if (!answer.refused.empty()) {
      list += "refused. " + Escaped(answer.refused);
    } else if (answer.dropped.empty()) {
      list += "runs it as planned. " + Code(answer.command);
    } else {
      list += "cannot express all of it";
      if (answer.lowered) {
        list += "; what it runs instead is predicted to give " + ObjectiveText(report.problem, *answer.lowered) + ", " +
                ComparedWith(report.problem, *answer.lowered, report.plan.evaluation);
      }
      list += ". Refused:<ul>";
      for (const Dropped& dropped : answer.dropped) {
        list += "<li>" + Code(dropped.what) + ": " + Escaped(dropped.instead) + "</li>";
      }
      list += "</ul>";
    }
    list += "</li>\n";
  }
  return list + "</ul>\n";
}

std::string RefusedSection(const PlanReport& report) {
  if (!report.megatron) return "";
  return "<section>\n<h2>What was refused, and why</h2>\n" + AlternativesElement(report) + FrameworksElement(report) +
         "</section>\n";
}

std::string ProvenanceSection(const PlanReport& report) {
  const std::string& source = report.problem.cluster().device.curves.source;
  return "<section>\n<h2>How far to trust it</h2>\n<p>Every figure is predicted, by formulas of kernels and "
         "collectives "
         "whose parameters are fitted to measurements (kernels: " +
         Escaped(source.empty() ? "unknown" : source) + "); nothing was run. Shardscout " + Escaped(Version()) +
         ", problem " + Code(report.plan.problem_digest) +
         (report.plan.search.version.empty() ? std::string()
                                             : ", plan made by version " + Escaped(report.plan.search.version)) +
         ".</p>\n</section>\n";
}

/// Where the best so far rose, and the end: all that a stepped curve needs.
ordered_json CurveJson(const std::vector<double>& best_so_far) {
  ordered_json curve = ordered_json::array();
  for (std::size_t i = 0; i < best_so_far.size(); ++i) {
    const bool rises = i == 0 || best_so_far[i] > best_so_far[i - 1];
    if (best_so_far[i] > 0 && (rises || i + 1 == best_so_far.size())) curve.push_back({i + 1, best_so_far[i]});
  }
  return curve;
}

ordered_json PointJson(const PlanReport& report, const Strategy& strategy, const Evaluation& evaluation) {
  return {{"x", 1e3 * LatencyOf(evaluation, report.problem.workload())},
          {"y", evaluation.metrics.throughput_per_device},
          {"keeps", evaluation.Feasible()},
          {"label", ToShortString(strategy)}};
}

/// What the charts draw.
ordered_json ChartData(const PlanReport& report) {
  ordered_json data;
  data["convergence"] = CurveJson(report.best_so_far);
  data["evaluations"] = report.best_so_far.size();
  if (!report.megatron) return data;
  const WorkloadSpec& workload = report.problem.workload();
  if (report.optimum) {
    const auto value = [&](const Evaluation& evaluation) {
      return ObjectiveOf(evaluation, workload.objective, workload.kind);
    };
    data["optimum"] = value(report.optimum->evaluation).TimesAsGoodAs(value(report.megatron->evaluation).value);
  }
  if (!report.front || report.front->points.empty()) return data;
  data["latency"] = workload.kind == WorkloadKind::kPrefill ? "TTFT" : "TPOT";
  const std::optional<double>& target =
      workload.kind == WorkloadKind::kPrefill ? workload.ttft_target_s : workload.tpot_target_s;
  data["target"] = target ? ordered_json(1e3 * *target) : ordered_json(nullptr);
  data["front"] = ordered_json::array();
  for (const ParetoPoint& point : report.front->points) {
    data["front"].push_back(PointJson(report, point.strategy, point.evaluation));
  }
  data["plan"] = PointJson(report, report.plan.pools.front().strategy, report.plan.evaluation);
  data["megatron"] = PointJson(report, report.megatron->strategy, report.megatron->evaluation);
  return data;
}

}  // namespace

std::string WordsSection(const PlanReport& report) {
  std::string section = "<section>\n<h2>The plan in words</h2>\n";
  for (const Pool& pool : report.plan.pools) {
    if (report.plan.pools.size() > 1) section += "<h3>Pool: " + Escaped(pool.role) + "</h3>\n";
    section += "<ul>\n";
    for (const std::string& sentence : Sentences(report.problem, pool))
      section += "<li>" + Escaped(sentence) + "</li>\n";
    section += "</ul>\n";
    std::vector<std::vector<std::string>> rows;
    for (std::size_t i = 0; i < kNumShardedOperators; ++i) {
      const auto op = static_cast<Operator>(i);
      if (!HasOperator(report.problem.model(), op)) continue;
      const Sharding sharding = pool.strategy.shardings[i];
      rows.push_back({OperatorText(op), ShardingText(op, sharding),
                      Code(std::string(ToString(op)) + ": " + std::string(ToString(sharding)))});
    }
    if (pool.strategy.InstanceSize() > 1) section += TableElement({"operator", "<how it is split", "<as JSON"}, rows);
  }
  return section + "</section>\n";
}

namespace {

std::string Body(const PlanReport& report) {
  return Summary(report) + WordsSection(report) + RivalsSection(report) + TimeSection(report) + MemorySection(report) +
         DevicesSection(report) + SearchSection(report) + FrontSection(report) + RefusedSection(report) +
         ProvenanceSection(report);
}

}  // namespace
}  // namespace exporters

std::string PlanReportHtml(const PlanReport& report) {
  return exporters::HtmlPage("Plan for " + report.problem.model().name, exporters::Body(report),
                             exporters::ChartData(report), internal::PlanReportJs());
}

}  // namespace shardscout
