#include "env/simulator/simulation.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <queue>
#include <span>
#include <utility>

#include "shardscout/error.h"

namespace shardscout::env {
namespace {

constexpr double kPerSecond = 1e12;
constexpr double kMostSeconds = 4e6;
/// Work left over by the rounding of rates, in picoseconds.
constexpr double kNothing = 1e-6;
constexpr double kRounding = 1 + 1e-12;

/// A task that runs on links.
struct Transfer {
  SimTaskId task = 0;
  double left = 0;  ///< Picoseconds at rate 1.
  double rate = 1;
};

class Run {
 public:
  explicit Run(const SimulationGraph& graph)
      : graph_(graph),
        waits_for_(static_cast<std::size_t>(graph.num_tasks())),
        queues_(static_cast<std::size_t>(graph.num_streams())),
        first_successor_(static_cast<std::size_t>(graph.num_tasks()) + 1, 0) {
    const auto n = static_cast<std::size_t>(graph.num_tasks());
    schedule_.begin.assign(n, 0);
    schedule_.end.assign(n, 0);
    for (SimTaskId t = 0; t < graph.num_tasks(); ++t) {
      queues_[static_cast<std::size_t>(graph.StreamOf(t))].tasks.push_back(t);
      waits_for_[Index(t)] = static_cast<std::int32_t>(graph.AfterOf(t).size());
      for (const SimTaskId before : graph.AfterOf(t)) ++first_successor_[Index(before) + 1];
    }
    for (std::size_t i = 1; i < first_successor_.size(); ++i) first_successor_[i] += first_successor_[i - 1];
    successors_.resize(first_successor_.back());
    std::vector<std::size_t> next(first_successor_.begin(), first_successor_.end() - 1);
    for (SimTaskId t = 0; t < graph.num_tasks(); ++t) {
      for (const SimTaskId before : graph.AfterOf(t)) successors_[next[Index(before)]++] = t;
    }
  }

  Schedule Finish() {
    for (std::size_t s = 0; s < queues_.size(); ++s) BeginNext(s);
    while (!ends_.empty() || !transfers_.empty()) {
      if (rates_changed_) SetRates();
      Picoseconds next = ends_.empty() ? std::numeric_limits<Picoseconds>::max() : ends_.top().first;
      for (const Transfer& transfer : transfers_) next = std::min(next, EndOf(transfer));
      for (Transfer& transfer : transfers_) transfer.left -= static_cast<double>(next - now_) * transfer.rate;
      now_ = next;
      EndAllAt(next);
    }
    return std::move(schedule_);
  }

 private:
  struct Queue {
    std::vector<SimTaskId> tasks;
    std::size_t next = 0;
    bool busy = false;
  };
  static std::size_t Index(std::int32_t number) { return static_cast<std::size_t>(number); }

  std::span<const SimTaskId> SuccessorsOf(SimTaskId task) const {
    const std::size_t first = first_successor_[Index(task)];
    return std::span(successors_).subspan(first, first_successor_[Index(task) + 1] - first);
  }

  Picoseconds After(Picoseconds duration) const { return now_ + std::min(duration, kEndOfTime - now_); }

  Picoseconds EndOf(const Transfer& transfer) const {
    if (transfer.left <= kNothing) return now_;
    const double left = std::ceil(transfer.left / transfer.rate - kNothing);
    if (left >= static_cast<double>(kEndOfTime)) return kEndOfTime;
    return After(std::max<Picoseconds>(1, std::llround(left)));
  }

  /// Ends every task whose time has come, then begins what that frees: in the order of their numbers.
  void EndAllAt(Picoseconds time) {
    ended_.clear();
    while (!ends_.empty() && ends_.top().first == time) {
      ended_.push_back(ends_.top().second);
      ends_.pop();
    }
    const auto done = std::remove_if(transfers_.begin(), transfers_.end(), [&](const Transfer& transfer) {
      if (transfer.left > kNothing && time < kEndOfTime) return false;
      ended_.push_back(transfer.task);
      return true;
    });
    rates_changed_ = rates_changed_ || done != transfers_.end();
    transfers_.erase(done, transfers_.end());
    std::sort(ended_.begin(), ended_.end());
    for (const SimTaskId task : ended_) {
      schedule_.end[Index(task)] = time;
      schedule_.makespan = std::max(schedule_.makespan, time);
      queues_[static_cast<std::size_t>(graph_.StreamOf(task))].busy = false;
      for (const SimTaskId successor : SuccessorsOf(task)) --waits_for_[Index(successor)];
    }
    for (const SimTaskId task : ended_) {
      BeginNext(static_cast<std::size_t>(graph_.StreamOf(task)));
      for (const SimTaskId successor : SuccessorsOf(task)) {
        BeginNext(static_cast<std::size_t>(graph_.StreamOf(successor)));
      }
    }
  }

  void BeginNext(std::size_t stream) {
    Queue& queue = queues_[stream];
    if (queue.busy || queue.next == queue.tasks.size()) return;
    const SimTaskId task = queue.tasks[queue.next];
    if (waits_for_[Index(task)] > 0) return;
    ++queue.next;
    queue.busy = true;
    schedule_.begin[Index(task)] = now_;
    if (graph_.LoadsOf(task).empty()) {
      ends_.emplace(After(graph_.DurationOf(task)), task);
    } else {
      transfers_.push_back({.task = task, .left = static_cast<double>(graph_.DurationOf(task))});
      rates_changed_ = true;
    }
  }

  /// Max-min fairness by filling: all rates rise together, and those on a link that is full stop.
  void SetRates() {
    rates_changed_ = false;
    if (transfers_.size() == 1) {
      transfers_.front().rate = 1;
      return;
    }
    std::vector<double> free(static_cast<std::size_t>(graph_.num_links()), 1);
    std::vector<Transfer*> rising;
    for (Transfer& transfer : transfers_) rising.push_back(&transfer);
    while (!rising.empty()) {
      std::vector<double> open(free.size(), 0);  // The shares of those that rise.
      for (const Transfer* transfer : rising) {
        for (const LinkLoad& load : graph_.LoadsOf(transfer->task)) open[Index(load.link)] += load.share;
      }
      double level = 1;
      for (std::size_t l = 0; l < open.size(); ++l) {
        if (open[l] > 0) level = std::min(level, free[l] / open[l]);
      }
      const auto is_full = [&](const LinkLoad& load) {
        return free[Index(load.link)] <= level * open[Index(load.link)] * kRounding;
      };
      const auto stopped = std::stable_partition(rising.begin(), rising.end(), [&](const Transfer* transfer) {
        const std::span<const LinkLoad> loads = graph_.LoadsOf(transfer->task);
        return level < 1 && std::none_of(loads.begin(), loads.end(), is_full);
      });
      for (auto transfer = stopped; transfer != rising.end(); ++transfer) (*transfer)->rate = level;
      for (auto transfer = stopped; transfer != rising.end(); ++transfer) {
        for (const LinkLoad& load : graph_.LoadsOf((*transfer)->task)) {
          free[Index(load.link)] = std::max(0.0, free[Index(load.link)] - level * load.share);
        }
      }
      rising.erase(stopped, rising.end());
    }
  }

  const SimulationGraph& graph_;
  Schedule schedule_;
  Picoseconds now_ = 0;
  std::vector<std::int32_t> waits_for_;
  std::vector<Queue> queues_;
  std::vector<std::size_t> first_successor_;  ///< By task; one more ends the last.
  std::vector<SimTaskId> successors_;
  using End = std::pair<Picoseconds, SimTaskId>;
  std::priority_queue<End, std::vector<End>, std::greater<>> ends_;  ///< Of tasks without links.
  std::vector<Transfer> transfers_;
  std::vector<SimTaskId> ended_;
  bool rates_changed_ = false;
};

}  // namespace

Picoseconds ToPicoseconds(double seconds) { return std::llround(std::min(seconds, kMostSeconds) * kPerSecond); }
double ToSeconds(Picoseconds time) { return static_cast<double>(time) / kPerSecond; }

SimTaskId SimulationGraph::AddTask(StreamId stream, Picoseconds duration, std::span<const SimTaskId> after,
                                   std::span<const LinkLoad> loads) {
  SHARDSCOUT_CHECK(stream >= 0 && stream < num_streams_ && duration >= 0);
  for (const SimTaskId task : after) SHARDSCOUT_CHECK(task >= 0 && task < num_tasks());
  for (const LinkLoad& load : loads) {
    SHARDSCOUT_CHECK(load.link >= 0 && load.link < num_links_ && load.share > 0 && load.share <= 1);
  }
  tasks_.push_back({.stream = stream,
                    .duration = duration,
                    .first_after = static_cast<std::uint32_t>(after_.size()),
                    .num_after = static_cast<std::uint32_t>(after.size()),
                    .first_load = static_cast<std::uint32_t>(loads_.size()),
                    .num_loads = static_cast<std::uint32_t>(loads.size())});
  after_.insert(after_.end(), after.begin(), after.end());
  loads_.insert(loads_.end(), loads.begin(), loads.end());
  return num_tasks() - 1;
}

std::span<const SimTaskId> SimulationGraph::AfterOf(SimTaskId task) const {
  const Task& t = tasks_[Index(task)];
  return std::span(after_).subspan(t.first_after, t.num_after);
}

std::span<const LinkLoad> SimulationGraph::LoadsOf(SimTaskId task) const {
  const Task& t = tasks_[Index(task)];
  return std::span(loads_).subspan(t.first_load, t.num_loads);
}

Schedule Simulate(const SimulationGraph& graph) { return Run(graph).Finish(); }

}  // namespace shardscout::env
