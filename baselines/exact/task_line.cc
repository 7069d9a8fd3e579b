#include "baselines/exact/task_line.h"

#include <algorithm>

#include "env/analytical/collective_floor.h"
#include "env/analytical/operator_time.h"

namespace shardscout::baselines::exact {

double TaskLine::Seconds(double rows) const {
  return std::max(compute_s_per_row * rows, memory_s_per_row * rows + memory_s) + launch_s;
}

TaskLine LineOfFlop(const DeviceSpec& device, const Task& task, double rows) {
  const shardscout::internal::OperatorFloor floor = shardscout::internal::FloorOf(device, task);
  return {.compute_s_per_row = floor.FlopSeconds(task.work) / rows, .launch_s = floor.fixed_s};
}

TaskLine LineOfKernel(const DeviceSpec& device, const Task& task, double rows) {
  const Work& work = task.work;
  const double bytes_per_s = shardscout::internal::FloorOf(device, task).bytes_per_s;
  TaskLine line = LineOfFlop(device, task, rows);
  line.memory_s_per_row = (work.read_bytes + work.write_bytes) / bytes_per_s / rows;
  line.memory_s = work.weight_bytes / bytes_per_s;
  return line;
}

TaskLine LineOfCollective(const ClusterSpec& cluster, const Task& task, double rows, env::SpanCache& spans) {
  TaskLine line;
  for (const GroupSpan& span : env::SpansOfTask(task, spans)) {
    const shardscout::internal::CollectiveFloor floor = shardscout::internal::FloorOf(cluster, task.collective, span);
    const double s_per_row = floor.s_per_byte * task.payload_bytes / rows;
    if (s_per_row <= line.memory_s_per_row) continue;
    line = {.memory_s_per_row = s_per_row, .memory_s = floor.fixed_s};
  }
  return line;
}

}  // namespace shardscout::baselines::exact
