#pragma once

#include <cstdint>
#include <span>
#include <vector>

/// A discrete-event simulation of tasks on streams that share links.
///
/// A stream (a device's compute stream, one of its communication streams) runs its tasks one at a time, in the order in
/// which they were added. A task begins when its stream is free and the tasks that it depends on have ended. Alone on
/// its links it takes its duration. While others run on a link of its, all progress at rates r <= 1 of max-min
/// fairness: with d(task, link) the share of the link that a task takes alone, all rates rise together from 0; where
/// the sum of r d over a link's tasks reaches 1, those tasks rise no further.
///
/// Time is counted in picoseconds, and what happens at one time happens in the order of the tasks' numbers: equal
/// graphs give equal schedules, on every machine.
///
/// Worked example (a test): two tasks of 100 ps begin together on a link of which each takes 0.8 alone. Each runs at
/// rate 0.625: both end at 160. Were the second one 50 ps, it would end at 80, and the first one, half done, at 130.
namespace shardscout::env {

using Picoseconds = std::int64_t;

/// The end of time: what would end later ends then.
inline constexpr Picoseconds kEndOfTime = 8'000'000'000'000'000'000;

/// To the nearest; `seconds` at most 4e6 (46 days), more is taken as that.
Picoseconds ToPicoseconds(double seconds);
double ToSeconds(Picoseconds time);

using SimTaskId = std::int32_t;
using StreamId = std::int32_t;
using LinkId = std::int32_t;

/// What a task takes of a link when it runs alone, in (0, 1].
struct LinkLoad {
  LinkId link = 0;
  double share = 0;
};

/// Streams, links and tasks, numbered from 0 in the order in which they are added. A task depends on earlier ones only,
/// so that every graph can be run to its end.
class SimulationGraph {
 public:
  StreamId AddStream() { return num_streams_++; }
  LinkId AddLink() { return num_links_++; }
  SimTaskId AddTask(StreamId stream, Picoseconds duration, std::span<const SimTaskId> after = {},
                    std::span<const LinkLoad> loads = {});

  SimTaskId num_tasks() const { return static_cast<SimTaskId>(tasks_.size()); }
  StreamId num_streams() const { return num_streams_; }
  LinkId num_links() const { return num_links_; }
  StreamId StreamOf(SimTaskId task) const { return tasks_[Index(task)].stream; }
  Picoseconds DurationOf(SimTaskId task) const { return tasks_[Index(task)].duration; }
  std::span<const SimTaskId> AfterOf(SimTaskId task) const;
  std::span<const LinkLoad> LoadsOf(SimTaskId task) const;

 private:
  struct Task {
    StreamId stream;
    Picoseconds duration;
    std::uint32_t first_after, num_after, first_load, num_loads;
  };
  static std::size_t Index(SimTaskId task) { return static_cast<std::size_t>(task); }

  StreamId num_streams_ = 0;
  LinkId num_links_ = 0;
  std::vector<Task> tasks_;
  std::vector<SimTaskId> after_;
  std::vector<LinkLoad> loads_;
};

/// When each task began and ended.
struct Schedule {
  std::vector<Picoseconds> begin, end;
  Picoseconds makespan = 0;  ///< The last end.
  bool operator==(const Schedule&) const = default;
};

Schedule Simulate(const SimulationGraph& graph);

}  // namespace shardscout::env
