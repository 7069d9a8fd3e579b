#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "shardscout/plan.h"
#include "shardscout/plan_comparison.h"
#include "src/export/html_page.h"
#include "src/export/plan_words.h"
#include "src/export/use_parts.h"
#include "src/quantity_text.h"

namespace shardscout {
namespace exporters {
namespace {

using text::Bytes;
using text::Duration;
using text::Grouped;
using text::Number;
using text::Percent;

struct Pair {
  const ComparedPlan& ours;
  const ComparedPlan& theirs;
};

std::string Code(const std::string& text) { return "<code>" + Escaped(text) + "</code>"; }

std::string ProblemText(const Problem& problem) {
  const ClusterSpec& cluster = problem.cluster();
  return Escaped(problem.model().name) + " on " + Grouped(cluster.num_devices) + " x " + Escaped(cluster.device.name) +
         " (" + Escaped(cluster.name) + "), " + Escaped(problem.workload().name) + ": " +
         Escaped(WorkloadText(problem.workload()));
}

std::string Lead(const Pair& pair) {
  const auto named = [](const ComparedPlan& plan) { return "<b>" + Escaped(plan.name) + "</b>"; };
  std::string lead;
  if (pair.ours.problem.Digest() == pair.theirs.problem.Digest()) {
    lead = "<p class=\"lead\">" + named(pair.ours) + " against " + named(pair.theirs) + ", both for " +
           ProblemText(pair.ours.problem) + ".</p>\n<p>" + named(pair.ours) + " is predicted to be " +
           Escaped(ComparedWith(pair.ours.problem, pair.ours.evaluation, pair.theirs.evaluation, pair.theirs.name)) +
           " by the objective " + std::string(ToString(pair.ours.problem.workload().objective)) + ".</p>\n";
  } else {
    lead = "<p class=\"lead\">" + named(pair.ours) + ": " + ProblemText(pair.ours.problem) +
           ".</p>\n<p class=\"lead\">" + named(pair.theirs) + ": " + ProblemText(pair.theirs.problem) +
           ".</p>\n<p>The two are for different problems: their figures stand side by side, and no more.</p>\n";
  }
  for (const ComparedPlan* plan : {&pair.ours, &pair.theirs}) {
    if (plan->evaluation.Feasible()) continue;
    lead += "<p class=\"wrong\">" + named(*plan) +
            " breaks its limits: " + Escaped(DescribeViolations(plan->evaluation, plan->problem.workload())) + "</p>\n";
  }
  return lead;
}

enum class Better { kMore, kLess, kNeither };

/// "+12.0 %", in the colour of what it means.
std::string Change(double ours, double theirs, Better better) {
  if (ours == theirs || theirs == 0) return "-";
  const double change = ours / theirs - 1;
  std::string words = (change > 0 ? "+" : "") + Percent(change);
  if (better == Better::kNeither) return words;
  const bool good = (change > 0) == (better == Better::kMore);
  return std::string("<span class=\"") + (good ? "good" : "bad") + "\">" + words + "</span>";
}

std::string MetricsSection(const Pair& pair) {
  std::vector<std::vector<std::string>> rows;
  const auto add = [&](const char* what, std::string (*show)(double), Better better, auto value) {
    const double ours = value(pair.ours.evaluation), theirs = value(pair.theirs.evaluation);
    if (ours == 0 && theirs == 0) return;
    rows.push_back({what, show(ours), show(theirs), Change(ours, theirs, better)});
  };
  using E = const Evaluation&;
  add("tokens/s/device", Number, Better::kMore, [](E e) { return e.metrics.throughput_per_device; });
  add("TTFT", Duration, Better::kLess, [](E e) { return e.metrics.ttft_s; });
  add("TPOT", Duration, Better::kLess, [](E e) { return e.metrics.tpot_s; });
  add("requests at a time", Number, Better::kNeither, [](E e) { return static_cast<double>(e.metrics.concurrency); });
  add("idle devices", Number, Better::kLess, [](E e) { return static_cast<double>(e.metrics.idle_devices); });
  add("memory of a device", Bytes, Better::kNeither, [](E e) { return e.memory.TotalBytes(); });
  add("USD per million tokens", Number, Better::kLess, [](E e) { return e.metrics.cost_usd_per_million_tokens; });
  return "<section>\n<h2>Side by side</h2>\n" +
         TableElement({"", Escaped(pair.ours.name), Escaped(pair.theirs.name), "difference"}, rows) + "</section>\n";
}

/// "1.25 times as good; with expert_parallel_size 8"
std::string EarnsText(const SingleChange& change) {
  std::string words = Number(change.earns);
  for (const MovedVariable& moved : change.also) {
    words += (&moved == &change.also.front() ? " with " : ", ") + VariableName(moved.variable) + " " +
             ValueName(moved.variable, moved.to);
  }
  if (!change.evaluation.Feasible()) words += " (breaks a limit)";
  return words;
}

std::string DifferenceSection(const Pair& pair, const std::optional<StrategyDifference>& difference) {
  std::vector<std::vector<std::string>> rows;
  for (int variable = 0; variable < kNumVariables; ++variable) {
    const std::int64_t ours = GetVariable(pair.ours.strategy, variable);
    const std::int64_t theirs = GetVariable(pair.theirs.strategy, variable);
    if (ours == theirs) continue;
    std::vector<std::string> row = {Code(VariableName(variable)), Code(ValueName(variable, ours)),
                                    Code(ValueName(variable, theirs))};
    if (difference) {
      const auto& all = difference->variables;
      const auto known = std::find_if(all.begin(), all.end(), [&](const auto& d) { return d.variable == variable; });
      row.push_back(known == all.end() ? "" : EarnsText(known->back));
      row.push_back(known == all.end() ? "" : EarnsText(known->forward));
    }
    rows.push_back(row);
  }
  std::string section = "<section>\n<h2>Where the plans differ</h2>\n";
  if (rows.empty()) return section + "<p>Nowhere: both split the model in the same way.</p>\n</section>\n";
  std::vector<std::string> header = {"decision", Escaped(pair.ours.name), Escaped(pair.theirs.name)};
  if (difference) {
    header.insert(header.end(), {"<earns here", "<would earn there"});
    section += "<p>How many times as good the objective is with the decision of " + Escaped(pair.ours.name) +
               " as with the other one, all else equal: as it is taken here, and if it were taken there. Limits are "
               "ignored.</p>\n";
  }
  return section + TableElement(header, rows) + "</section>\n";
}

double Sum(const std::vector<Part>& parts) {
  double sum = 0;
  for (const Part& part : parts) sum += part.amount;
  return sum;
}

/// Both plans' parts on one scale.
std::string Stacks(const Pair& pair, const std::vector<Part>& ours, const std::vector<Part>& theirs, double least_whole,
                   std::string (*show)(double)) {
  const double whole = std::max({Sum(ours), Sum(theirs), least_whole});
  std::string element;
  for (const auto& [plan, parts] : {std::pair(&pair.ours, &ours), std::pair(&pair.theirs, &theirs)}) {
    element +=
        "<p><b>" + Escaped(plan->name) + "</b>: " + show(Sum(*parts)) + "</p>\n" + StackElement(*parts, whole, show);
  }
  return element;
}

std::string UseSections(const Pair& pair) {
  std::string times;
  for (const auto& [phase, name] : {std::pair(Phase::kPrefill, "Prefill"), std::pair(Phase::kDecode, "Decode")}) {
    const std::vector<Part> ours = TimeParts(pair.ours.breakdown, phase);
    const std::vector<Part> theirs = TimeParts(pair.theirs.breakdown, phase);
    if (ours.empty() && theirs.empty()) continue;
    times += std::string("<h3>") + name + ", one micro-batch through all stages</h3>\n" +
             Stacks(pair, ours, theirs, 0, Duration);
  }
  if (!times.empty()) times = "<section>\n<h2>Where the time goes</h2>\n" + times + "</section>\n";
  const double limit = std::max(pair.ours.evaluation.memory.limit_bytes, pair.theirs.evaluation.memory.limit_bytes);
  return times + "<section>\n<h2>Memory of a device of the fullest stage</h2>\n<p>The whole width is the " +
         Bytes(limit) + " that may be used, or what is needed where that is more.</p>\n" +
         Stacks(pair, MemoryParts(pair.ours.evaluation.memory), MemoryParts(pair.theirs.evaluation.memory), limit,
                Bytes) +
         "</section>\n";
}

std::string WordsOf(const ComparedPlan& plan) {
  std::string section = "<section>\n<h2>" + Escaped(plan.name) + " in words</h2>\n<ul>\n";
  for (const std::string& sentence : Sentences(plan.problem, MakePool(plan.problem, plan.strategy))) {
    section += "<li>" + Escaped(sentence) + "</li>\n";
  }
  return section + "</ul>\n<p>" + Code(ToShortString(plan.strategy)) + "</p>\n</section>\n";
}

std::string Body(const Pair& pair, const std::optional<StrategyDifference>& difference) {
  return Lead(pair) + MetricsSection(pair) + DifferenceSection(pair, difference) + UseSections(pair) +
         WordsOf(pair.ours) + WordsOf(pair.theirs);
}

}  // namespace
}  // namespace exporters

std::string PlanComparisonHtml(const ComparedPlan& ours, const ComparedPlan& theirs,
                               const std::optional<StrategyDifference>& difference) {
  return exporters::HtmlPage("Two plans compared", exporters::Body({ours, theirs}, difference),
                             nlohmann::ordered_json::object(), "");
}

}  // namespace shardscout
