#include "baselines/exact/task_line.h"

#include <algorithm>

#include "shardscout/collective_time.h"

namespace shardscout::baselines::exact {

double TaskLine::Seconds(double rows) const {
  return std::max(compute_s_per_row * rows, memory_s_per_row * rows + memory_s) + launch_s;
}

TaskLine LineOfFlop(const DeviceSpec& device, const Task& task, double rows) {
  const Work& work = task.work;
  TaskLine line{.launch_s = work.kernels * device.kernel_launch_s};
  if (work.flop > 0) {
    const DeviceEfficiency& efficiency = device.efficiency;
    const double fraction =
        task.kind == TaskKind::kAttention ? efficiency.attention_peak_fraction : efficiency.gemm_peak_fraction;
    line.compute_s_per_row = work.flop / (fraction * device.PeakFlopPerS(work.dtype)) / rows;
  }
  return line;
}

TaskLine LineOfKernel(const DeviceSpec& device, const Task& task, double rows) {
  const Work& work = task.work;
  const double bytes_per_s = device.efficiency.hbm_peak_fraction * device.hbm_bytes_per_s;
  TaskLine line = LineOfFlop(device, task, rows);
  line.memory_s_per_row = (work.read_bytes + work.write_bytes) / bytes_per_s / rows;
  line.memory_s = work.kernels * device.efficiency.hbm_latency_s + work.weight_bytes / bytes_per_s;
  return line;
}

TaskLine LineOfCollective(const ClusterSpec& cluster, const Task& task, double rows, env::SpanCache& spans) {
  constexpr double kNoBytes = 1e-6;
  constexpr double kManyBytes = 1e18;
  TaskLine line;
  for (const GroupSpan& span : env::SpansOfTask(task, spans)) {
    const std::vector<GroupSpan> alone(1, span);
    const double s_per_byte = CollectiveTime(cluster, task.collective, kManyBytes, alone) / kManyBytes;
    const double s_per_row = s_per_byte * task.payload_bytes / rows;
    if (s_per_row <= line.memory_s_per_row) continue;
    line = {.memory_s_per_row = s_per_row, .memory_s = CollectiveTime(cluster, task.collective, kNoBytes, alone)};
  }
  return line;
}

}  // namespace shardscout::baselines::exact
