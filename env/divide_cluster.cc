#include "shardscout/divide_cluster.h"

#include <algorithm>
#include <limits>
#include <map>
#include <string>
#include <utility>

#include "env/pools.h"
#include "shardscout/error.h"
#include "shardscout/two_pools.h"

namespace shardscout {
namespace {

void Check(const Problem& problem) {
  const WorkloadSpec& workload = problem.workload();
  const std::string place = "workload " + workload.name;
  if (workload.kind != WorkloadKind::kServe) {
    throw SpecError(place, "is for " + std::string(ToString(workload.kind)) + ", two pools need one for serve");
  }
  if (workload.output_tokens < 2) {
    throw SpecError(place, "has one output token, which the pool for prefill gives; nothing is left to decode");
  }
  if (workload.batch_size) {
    throw SpecError(place, "fixes batch_size, of which each pool has its own; leave it to the search");
  }
  if (workload.concurrency) {
    throw SpecError(place,
                    "fixes concurrency; two pools are divided for the most requests that keep the targets of "
                    "TTFT and TPOT, and the concurrency follows: leave it out");
  }
  if (workload.objective == Objective::kLatency) {
    throw SpecError(place,
                    "asks for the least latency, for which no devices are shared out; ask for throughput, cost or "
                    "energy under targets of TTFT and TPOT");
  }
  if (problem.cluster().num_devices < 2) {
    throw SpecError("cluster " + problem.cluster().name, "has one device, two pools need two or more");
  }
}

/// From so many nodes on a cluster is divided between nodes.
constexpr std::int64_t kManyNodes = 16;

class Divider {
 public:
  Divider(const Problem& problem, const SearchRequest& request, const SearcherRegistry& searchers,
          const EvaluatorRegistry& evaluators)
      : problem_(problem), request_(request), searchers_(searchers), evaluators_(evaluators) {
    request_.journal_path.clear();
    request_.resume = false;
    request_.screen.reset();
    request_.top = 0;
    const ClusterSpec& cluster = problem.cluster();
    unit_ = cluster.num_devices >= kManyNodes * cluster.devices_per_node ? cluster.devices_per_node : 1;
    last_ = (cluster.num_devices - 1) / unit_;
    const Strategy alone;
    longest_transfer_s_ = env::TransferTime(problem, alone, alone, last_ * unit_, problem.workload().input_tokens);
  }

  Division Divide() {
    Division division;
    division.one_pool = RunSearch(problem_, request_, searchers_, evaluators_);
    const std::int64_t crossing = Crossing();
    // Outwards from where they cross, the better side first, until a pair of pools lies well on the cluster.
    std::int64_t below = crossing - 1, above = crossing;
    while (!Stopped() && (below >= 1 || above <= last_)) {
      const double rate_below = below >= 1 ? PointAt(below).RequestsPerS() : -1;
      const double rate_above = above <= last_ ? PointAt(above).RequestsPerS() : -1;
      const std::int64_t best = rate_above >= rate_below ? above++ : below--;
      if (PointAt(best).RequestsPerS() <= 0) break;
      if (!Fits(best)) continue;
      division.best = PointAt(best);
      division.plan = PlanAt(best);
      break;
    }
    division.proved = !reports_.empty();
    for (const auto& [key, report] : reports_) {
      division.evaluations += report.evaluations;
      const bool proof = report.status == SearchStatus::kProvenInfeasible ||
                         (report.plan && report.plan->certificate && report.plan->certificate->gap <= 0);
      division.proved = division.proved && proof;
    }
    for (const auto& [n, point] : points_) division.points.push_back(point);
    if (division.plan) {
      division.plan->search.evaluations = division.evaluations;
      division.plan->search.status = ToString(division.proved ? SearchStatus::kProvenOptimal : SearchStatus::kFinished);
    }
    return division;
  }

 private:
  using Key = std::pair<Phase, std::int64_t>;

  bool Stopped() const { return request_.stop != nullptr && *request_.stop; }

  /// The least n at which prefill keeps up with decode; last_ + 1 where it never does.
  std::int64_t Crossing() {
    std::int64_t low = 1, high = last_ + 1;
    while (low < high && !Stopped()) {
      const std::int64_t middle = low + (high - low) / 2;
      const DivisionPoint& point = PointAt(middle);
      if (point.prefill_requests_per_s >= point.decode_requests_per_s) {
        high = middle;
      } else {
        low = middle + 1;
      }
    }
    return low;
  }

  const DivisionPoint& PointAt(std::int64_t n) {
    const auto [entry, is_new] = points_.try_emplace(n);
    DivisionPoint& point = entry->second;
    if (!is_new) return point;
    point.prefill_devices = n * unit_;
    point.decode_devices = problem_.cluster().num_devices - point.prefill_devices;
    point.prefill_requests_per_s = RateOf(Phase::kPrefill, point.prefill_devices);
    point.decode_requests_per_s = RateOf(Phase::kDecode, point.decode_devices);
    return point;
  }

  double RateOf(Phase phase, std::int64_t devices) {
    const SearchReport& report = ReportOf(phase, devices);
    return report.plan ? RequestsPerS(problem_.workload(), report.plan->evaluation.metrics, phase) : 0;
  }

  const SearchReport& ReportOf(Phase phase, std::int64_t devices) {
    const auto [entry, is_new] = reports_.try_emplace(Key{phase, devices});
    if (is_new) entry->second = RunSearch(PhaseProblem(phase, devices), request_, searchers_, evaluators_);
    return entry->second;
  }

  Problem PhaseProblem(Phase phase, std::int64_t devices) const {
    ClusterSpec cluster = problem_.cluster();
    cluster.num_devices = devices;
    WorkloadSpec workload = problem_.workload();
    const bool prefill = phase == Phase::kPrefill;
    workload.kind = prefill ? WorkloadKind::kPrefill : WorkloadKind::kDecode;
    workload.concurrency.reset();
    workload.requests.reset();
    (prefill ? workload.tpot_target_s : workload.ttft_target_s).reset();
    if (!prefill && workload.tpot_target_s) {
      const double sent_s = longest_transfer_s_ / static_cast<double>(workload.output_tokens - 1);
      // What no pass keeps, where the transfer alone is too long.
      *workload.tpot_target_s = std::max(*workload.tpot_target_s - sent_s, std::numeric_limits<double>::min());
    }
    return Problem(problem_.model(), cluster, workload, problem_.options());
  }

  Plan& PlanOf(Phase phase, std::int64_t devices) { return *reports_.at({phase, devices}).plan; }

  bool Fits(std::int64_t n) {
    const DivisionPoint& point = points_.at(n);
    return env::DevicesOf(problem_.cluster(), PlanOf(Phase::kPrefill, point.prefill_devices).pools.front(),
                          PlanOf(Phase::kDecode, point.decode_devices).pools.front()) <= problem_.cluster().num_devices;
  }

  Plan PlanAt(std::int64_t n) {
    const DivisionPoint& point = points_.at(n);
    const Plan& decode = PlanOf(Phase::kDecode, point.decode_devices);
    Plan plan =
        PlanOfPools(problem_, PlanOf(Phase::kPrefill, point.prefill_devices).pools.front(), decode.pools.front());
    SearchProvenance& search = plan.search;
    search.searcher = request_.searcher;
    search.seed = request_.seed;
    search.budget = request_.budget;
    search.configuration_json = decode.search.configuration_json;
    return plan;
  }

  const Problem& problem_;
  SearchRequest request_;
  const SearcherRegistry& searchers_;
  const EvaluatorRegistry& evaluators_;
  std::int64_t unit_ = 1, last_ = 1;  // Devices of a step of n, and its last value.
  double longest_transfer_s_ = 0;
  std::map<Key, SearchReport> reports_;
  std::map<std::int64_t, DivisionPoint> points_;  // By n in units.
};

}  // namespace

Division DivideCluster(const Problem& problem, const SearchRequest& request, const SearcherRegistry& searchers,
                       const EvaluatorRegistry& evaluators) {
  Check(problem);
  return Divider(problem, request, searchers, evaluators).Divide();
}

}  // namespace shardscout
