#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "shardscout/comparison_report.h"
#include "shardscout/error.h"
#include "src/embedded_text.h"
#include "src/export/comparison_json.h"
#include "src/export/html_page.h"

namespace shardscout {
namespace {

using exporters::ChartElement;
using exporters::Escaped;
using exporters::Formatted;

std::string Score(double score) { return Formatted("%.4f", score); }
std::string Percent(double share) { return Formatted("%.1f&nbsp;%%", 100 * share); }
std::string Seconds(double seconds) { return Formatted(seconds < 10 ? "%.3f&nbsp;s" : "%.1f&nbsp;s", seconds); }

std::string Row(const SearcherSummary& summary) {
  std::string row = "<tr><td>" + Escaped(summary.searcher) + "</td>";
  for (const std::string& cell :
       {std::to_string(summary.runs), Score(summary.score),
        Score(summary.interval.low) + " to " + Score(summary.interval.high), Percent(summary.feasible_share),
        Score(summary.area), summary.evaluations_until ? Formatted("%.0f", *summary.evaluations_until) : "never",
        Percent(summary.never_share), Score(summary.worst_score), Score(summary.best_score), Seconds(summary.wall_s)}) {
    row += "<td>" + cell + "</td>";
  }
  return row + "</tr>\n";
}

std::string TableOf(const std::vector<SearcherSummary>& searchers) {
  std::string table =
      "<div class=\"scroll\"><table><thead><tr><th>searcher</th><th>runs</th><th>score (IQM)</th><th>95 % interval</th>"
      "<th>feasible</th><th>area</th><th>evaluations to 0.99</th><th>never</th><th>worst</th><th>best</th>"
      "<th>time a run</th></tr></thead><tbody>\n";
  for (const SearcherSummary& summary : searchers) table += Row(summary);
  return table + "</tbody></table></div>\n";
}

std::string ReferenceText(const Reference& reference) {
  switch (reference.kind) {
    case ReferenceKind::kOptimum:
      return "Optimum, proved in " + Seconds(reference.wall_s) + ": " + Formatted("%.6g", reference.value) + ".";
    case ReferenceKind::kBound:
      return "The proof did not finish in " + Seconds(reference.wall_s) +
             "; scores are relative to the bound that it had proved, " + Formatted("%.6g", reference.value) +
             ", and so too low rather than too high.";
    case ReferenceKind::kBestFound:
      return "Nothing is proved here; scores are relative to the best that any run found, " +
             Formatted("%.6g", reference.value) + ".";
    case ReferenceKind::kInfeasible:
      return "Proved to have no feasible strategy: not scored, and not part of the figures over all problems.";
    case ReferenceKind::kNoneFound:
      return "Nothing is proved here and no run found a feasible strategy: not scored, and not part of the figures "
             "over "
             "all problems.";
  }
  SHARDSCOUT_CHECK(false && "unknown reference");
  return "";
}

std::string SectionOf(const ProblemSummary& problem, std::size_t index) {
  std::string section = "<section>\n<h2>" + Escaped(problem.name) + "</h2>\n<p class=\"note\">" +
                        Escaped(problem.model) + " on " + std::to_string(problem.devices) + " x " +
                        Escaped(problem.cluster) + ", " + Escaped(problem.workload) + ", objective " +
                        Escaped(problem.objective) + ". " + ReferenceText(problem.reference) + "</p>\n";
  if (!problem.searchers.empty()) {
    section += TableOf(problem.searchers) +
               ChartElement("problem-" + std::to_string(index), "Convergence of each searcher on " + problem.name);
  }
  return section + "</section>\n";
}

std::string Introduction(const Comparison& comparison) {
  std::string text = "<p class=\"note\">" + std::to_string(comparison.problems.size()) + " problems, " +
                     std::to_string(comparison.num_seeds) + " seeds from " + std::to_string(comparison.first_seed) +
                     ", at most " + std::to_string(comparison.budget) + " evaluations a run, evaluator " +
                     Escaped(comparison.evaluator) +
                     ". A score is the best value over the optimum, turned so that larger is better; a run without a "
                     "feasible strategy scores 0. IQM is the interquartile mean, its interval a 95 % bootstrap over "
                     "seeds, stratified by problem. Area is that under the curve of the best-so-far score. Evaluations "
                     "to 0.99 are a median; never is the share of runs that did not get there. A searcher that draws "
                     "no random numbers is run once a problem.</p>\n";
  if (!comparison.impossible.empty()) {
    text +=
        "<div class=\"wrong\"><p>These runs beat what was proved to be best, which only a mistake in one of the two "
        "can do:</p><ul>\n";
    for (const std::string& line : comparison.impossible) text += "<li>" + Escaped(line) + "</li>\n";
    text += "</ul></div>\n";
  }
  return text;
}

}  // namespace

std::string ComparisonHtml(const Comparison& comparison) {
  std::string body = Introduction(comparison);
  body += "<section>\n<h2>All problems</h2>\n" + TableOf(comparison.overall) +
          ChartElement("profile", "Performance profile of each searcher over all problems") + "</section>\n";
  for (std::size_t i = 0; i < comparison.problems.size(); ++i) body += SectionOf(comparison.problems[i], i);
  return exporters::HtmlPage("Searchers compared: " + comparison.name, body,
                             exporters::ComparisonDocument(comparison, true), internal::ComparisonPageJs());
}

}  // namespace shardscout
