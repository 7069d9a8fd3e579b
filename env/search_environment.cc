#include "shardscout/search_environment.h"

#include <omp.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <exception>
#include <limits>
#include <optional>
#include <type_traits>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "shardscout/error.h"
#include "shardscout/journal.h"
#include "shardscout/live_run.h"
#include "src/evaluation_json.h"

namespace shardscout {
namespace {

using Clock = std::chrono::steady_clock;

/// Repeats in all, as a multiple of the budget, after which a searcher is stopped.
constexpr std::int64_t kMaxRepeatsPerBudget = 200;

/// Repeats in a row after which it is worth counting the space: it may be exhausted.
constexpr std::int64_t kRepeatsBeforeCounting = 64;

/// Finds a number that is not finite in a struct that lists its fields.
struct FiniteCheck {
  bool finite = true;
  template <class T>
  void operator()(std::string_view name, std::optional<T>& value, const json::Field& field) {
    if (value) (*this)(name, *value, field);
  }
  template <class T>
  void operator()(std::string_view, T& value, const json::Field&) {
    if constexpr (std::is_floating_point_v<T>) {
      finite = finite && std::isfinite(value);
    } else if constexpr (std::is_class_v<T>) {
      VisitFields(*this, value);
    }
  }
};

}  // namespace

bool Better(const Scored& a, const Scored& b) {
  if (a.reward != b.reward) return a.reward > b.reward;
  return a.strategy < b.strategy;
}

struct SearchEnvironment::Impl {
  Impl(const StrategySpace& the_space, const Evaluator& the_evaluator, EnvironmentOptions the_options)
      : space(the_space), evaluator(the_evaluator), options(std::move(the_options)) {
    SHARDSCOUT_CHECK_OP(options.budget, >=, 0);
    SHARDSCOUT_CHECK_OP(options.normaliser, >, 0.0);
    if (options.budget == 0) ended = EndReason::kBudget;
  }

  struct Known {
    Evaluation evaluation;
    double reward = 0;
  };

  /// What a batch comes to before anything is evaluated.
  struct Request {
    std::size_t answered = 0;           ///< Length of the prefix that the budget covers.
    std::vector<Strategy> fresh;        ///< Its new strategies, in batch order.
    std::int64_t trailing_repeats = 0;  ///< Known ones since the last new one.
  };

  std::int64_t Remaining() const { return options.budget - charged; }
  int Threads() const { return options.threads > 0 ? options.threads : omp_get_max_threads(); }

  bool Over() {
    if (ended != EndReason::kNone) return true;
    if (options.stop != nullptr && options.stop->load()) {
      ended = EndReason::kInterrupted;
    } else if (options.time_limit_s > 0 &&
               std::chrono::duration<double>(Clock::now() - started).count() >= options.time_limit_s) {
      ended = EndReason::kTime;
    }
    return ended != EndReason::kNone;
  }

  Request Divide(std::span<const Strategy> batch) const {
    Request request;
    std::unordered_set<Strategy, StrategyHash> in_batch;
    for (const Strategy& strategy : batch) {
      if (known.contains(strategy) || !in_batch.insert(strategy).second) {
        ++request.trailing_repeats;
      } else if (std::cmp_less(request.fresh.size(), Remaining())) {
        request.fresh.push_back(strategy);
        request.trailing_repeats = 0;
      } else {
        break;
      }
      ++request.answered;
    }
    return request;
  }

  void CheckFinite(Evaluation& evaluation) const {
    FiniteCheck check;
    check("", evaluation, {});
    SHARDSCOUT_CHECK(check.finite && "an evaluator returned a number that is not finite");
  }

  /// By others, all at once; what the journal paid for is not asked again.
  std::vector<Journal::Entry> EvaluateElsewhere(const std::vector<Strategy>& fresh) const {
    std::vector<Journal::Entry> entries;
    std::vector<Strategy> unpaid;
    for (const Strategy& strategy : fresh) {
      // NOLINTNEXTLINE(readability-container-size-empty): a check prints what it compares.
      SHARDSCOUT_CHECK_OP(space.WhyNot(strategy), ==, "");
      std::optional<Evaluation> paid;
      if (options.journal != nullptr) paid = options.journal->Find(strategy);
      if (!paid) unpaid.push_back(strategy);
      entries.push_back({strategy, paid.value_or(Evaluation{})});
    }
    std::vector<Evaluation> answers = unpaid.empty() ? std::vector<Evaluation>{} : options.evaluate_batch(unpaid);
    SHARDSCOUT_CHECK_OP(answers.size(), ==, unpaid.size());
    std::size_t next = 0;
    for (Journal::Entry& entry : entries) {
      if (next == unpaid.size() || entry.strategy != unpaid[next]) continue;
      CheckFinite(answers[next]);
      entry.evaluation = answers[next++];
    }
    if (options.journal != nullptr && !entries.empty()) options.journal->Append(entries);
    return entries;
  }

  Evaluation EvaluateOne(const Strategy& strategy) const {
    // NOLINTNEXTLINE(readability-container-size-empty): a check prints what it compares.
    SHARDSCOUT_CHECK_OP(space.WhyNot(strategy), ==, "");
    if (options.journal != nullptr) {
      if (const std::optional<Evaluation> paid = options.journal->Find(strategy)) return *paid;
    }
    Evaluation evaluation = evaluator.Evaluate(strategy);
    CheckFinite(evaluation);
    return evaluation;
  }

  /// One after another, each journalled as soon as it is measured, since each costs real time on real processes; fewer
  /// where the search ends meanwhile.
  std::vector<Journal::Entry> EvaluateInTurn(const std::vector<Strategy>& fresh) {
    std::vector<Journal::Entry> entries;
    for (const Strategy& strategy : fresh) {
      if (Over()) break;
      entries.push_back({strategy, EvaluateOne(strategy)});
      if (options.journal != nullptr) options.journal->Append({entries.back()});
    }
    return entries;
  }

  /// In parallel; the answers don't depend on who computed them. Where some throw, what came before the first of them
  /// in batch order is journalled and that exception goes on.
  std::vector<Journal::Entry> EvaluateFresh(const std::vector<Strategy>& fresh) {
    if (options.evaluate_batch) return EvaluateElsewhere(fresh);
    if (measured) return EvaluateInTurn(fresh);
    std::vector<Journal::Entry> entries(fresh.size());
    std::vector<std::exception_ptr> failures(fresh.size());
    const int threads = Threads();
    const auto count = static_cast<std::ptrdiff_t>(fresh.size());
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads) if (count > 1)
    for (std::ptrdiff_t i = 0; i < count; ++i) {
      const auto index = static_cast<std::size_t>(i);
      try {
        entries[index] = {fresh[index], EvaluateOne(fresh[index])};
      } catch (...) {  // Must not leave the parallel region.
        failures[index] = std::current_exception();
      }
    }
    const auto failed = std::find_if(failures.begin(), failures.end(), [](const auto& f) { return f != nullptr; });
    if (failed != failures.end()) entries.resize(static_cast<std::size_t>(failed - failures.begin()));
    if (options.journal != nullptr && !entries.empty()) options.journal->Append(entries);
    if (failed != failures.end()) std::rethrow_exception(*failed);
    return entries;
  }

  void Count(const Journal::Entry& entry) {
    const WorkloadSpec& workload = space.problem().workload();
    Scored scored{entry.strategy, entry.evaluation,
                  Reward(entry.evaluation, workload.objective, workload.kind, options.normaliser)};
    ++charged;
    if (scored.evaluation.Feasible()) ++feasible;
    known.emplace(scored.strategy, Known{scored.evaluation, scored.reward});
    if (!best || Better(scored, *best)) best = scored;
    best_so_far.push_back(best->reward);
  }

  void NoteEnd(std::size_t asked, const Request& request) {
    // A batch of nothing asks for nothing new either.
    if (ended != EndReason::kNone) return;
    repeats += asked == 0 ? 1 : static_cast<std::int64_t>(request.answered - request.fresh.size());
    repeats_in_a_row = (request.fresh.empty() ? repeats_in_a_row : 0) + request.trailing_repeats;
    if (repeats_in_a_row >= kRepeatsBeforeCounting && !size) size = space.Size();
    if (best && best->evaluation.Feasible() && best->reward >= options.enough_reward) {
      ended = EndReason::kEnough;
    } else if (size && size->exact && static_cast<double>(charged) >= size->strategies) {
      ended = EndReason::kSpace;
    } else if (charged >= options.budget) {
      ended = EndReason::kBudget;
    } else if (repeats >= kMaxRepeatsPerBudget * options.budget) {
      ended = EndReason::kStalled;
    }
  }

  const StrategySpace& space;
  const Evaluator& evaluator;
  const EnvironmentOptions options;
  const bool measured = evaluator.Name() == kLiveEvaluator;
  const Clock::time_point started = Clock::now();

  std::unordered_map<Strategy, Known, StrategyHash> known;
  std::vector<Scored> start;
  std::vector<double> best_so_far;
  std::optional<Scored> best;
  std::int64_t charged = 0;
  std::int64_t feasible = 0;
  std::int64_t estimates = 0;
  std::int64_t repeats = 0;
  std::int64_t repeats_in_a_row = 0;
  std::optional<SpaceSize> size;
  EndReason ended = EndReason::kNone;
};

SearchEnvironment::SearchEnvironment(const StrategySpace& space, const Evaluator& evaluator, EnvironmentOptions options)
    : impl_(std::make_unique<Impl>(space, evaluator, std::move(options))) {
  if (!impl_->options.start.empty()) impl_->start = Evaluate(impl_->options.start);
}

SearchEnvironment::~SearchEnvironment() = default;

const StrategySpace& SearchEnvironment::space() const { return impl_->space; }
const Problem& SearchEnvironment::problem() const { return impl_->space.problem(); }
int SearchEnvironment::threads() const { return impl_->Threads(); }

std::vector<Scored> SearchEnvironment::Evaluate(std::span<const Strategy> batch) {
  Impl& impl = *impl_;
  if (impl.Over()) return {};
  const Impl::Request request = impl.Divide(batch);
  for (const Journal::Entry& entry : impl.EvaluateFresh(request.fresh)) impl.Count(entry);
  impl.NoteEnd(batch.size(), request);

  std::vector<Scored> answer;
  answer.reserve(request.answered);
  for (const Strategy& strategy : batch.first(request.answered)) {
    const auto known = impl.known.find(strategy);
    if (known == impl.known.end()) break;  // The search ended within the batch.
    answer.push_back({strategy, known->second.evaluation, known->second.reward});
  }
  if (impl.options.on_progress) {
    impl.options.on_progress({impl.charged, impl.options.budget, impl.feasible,
                              impl.best ? impl.best->reward : -std::numeric_limits<double>::infinity()});
  }
  return answer;
}

std::optional<Scored> SearchEnvironment::Evaluate(const Strategy& strategy) {
  std::vector<Scored> answer = Evaluate(std::span(&strategy, 1));
  if (answer.empty()) return std::nullopt;
  return answer.front();
}

bool SearchEnvironment::Known(const Strategy& strategy) const { return impl_->known.contains(strategy); }
std::int64_t SearchEnvironment::Remaining() const { return impl_->Remaining(); }
std::int64_t SearchEnvironment::Evaluations() const { return impl_->charged; }
std::int64_t SearchEnvironment::FeasibleEvaluations() const { return impl_->feasible; }
EndReason SearchEnvironment::ended() const { return impl_->ended; }
EndReason SearchEnvironment::Poll() {
  impl_->Over();
  return impl_->ended;
}
void SearchEnvironment::Record(std::span<const Scalar> scalars) const {
  if (impl_->options.on_scalars) impl_->options.on_scalars(impl_->charged, scalars);
}
const std::optional<Scored>& SearchEnvironment::best() const { return impl_->best; }
std::vector<Scored> SearchEnvironment::Top(std::size_t n) const {
  std::vector<Scored> all;
  all.reserve(impl_->known.size());
  for (const auto& [strategy, known] : impl_->known) all.push_back({strategy, known.evaluation, known.reward});
  n = std::min(n, all.size());
  // Better orders distinct strategies totally, so that the order of the map does not show.
  std::partial_sort(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(n), all.end(), Better);
  all.resize(n);
  return all;
}

bool SearchEnvironment::HasEstimates() const { return impl_->options.estimator != nullptr; }
std::int64_t SearchEnvironment::Estimates() const { return impl_->estimates; }
std::vector<double> SearchEnvironment::Estimate(std::span<const Strategy> batch) const {
  Impl& impl = *impl_;
  if (impl.options.estimator == nullptr) return {};
  impl.estimates += static_cast<std::int64_t>(batch.size());
  const WorkloadSpec& workload = impl.space.problem().workload();
  std::vector<double> rewards;
  for (const Strategy& strategy : batch) {
    rewards.push_back(
        Reward(impl.options.estimator->Evaluate(strategy), workload.objective, workload.kind, impl.options.normaliser));
  }
  return rewards;
}

double SearchEnvironment::until_gap() const { return impl_->options.until_gap; }
std::span<const Scored> SearchEnvironment::start() const { return impl_->start; }
std::span<const double> SearchEnvironment::best_so_far() const { return impl_->best_so_far; }

}  // namespace shardscout
