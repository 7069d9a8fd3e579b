#include "strategies/gradient_work.h"

#include <algorithm>
#include <utility>

namespace shardscout::strategies {

bool HasWeight(TaskKind kind) {
  return kind == TaskKind::kEmbed || kind == TaskKind::kMatmul || kind == TaskKind::kExpertMatmul ||
         kind == TaskKind::kUpProject;
}

void FillGradientWork(const ModelSpec& model, const TrainingSpec& training, const Value& input, const Value& output,
                      const Task& task, Task& back) {
  Work& w = back.work;
  const double in = input.Bytes(), out = output.Bytes();
  const bool product = HasWeight(task.kind) && task.kind != TaskKind::kEmbed;
  w.kernels = std::max(w.kernels, 1);
  if (product) {
    // Experts' products are as many matrix products as experts that are hit.
    if (back.kind == TaskKind::kExpertMatmul) back.kind = TaskKind::kMatmul;
    w.routing = {};
    w.quantises = back.work.dtype != model.residual_dtype;
    if (back.gradient == Gradient::kInput) {
      std::swap(w.n, w.k);
      w.read_bytes = out;
      w.write_bytes = in;
    } else {
      // dW [k, n] = x^T [k, m] dy [m, n], added to what earlier micro-batches gave.
      std::swap(w.m, w.k);
      w.read_bytes = in + out;
      w.weight_bytes = 0;
      const double gradient = w.count * w.m * w.n * training.GradientBytes();
      w.read_bytes += gradient;
      w.write_bytes = gradient;
    }
    return;
  }
  if (task.kind == TaskKind::kEmbed) {
    w.read_bytes = out;
    w.write_bytes = 2 * out;
    return;
  }
  if (task.kind == TaskKind::kAttention) {
    // Five products for two: scores again, dV, dP, dQ, dK.
    w.attention.backward = true;
    w.flop *= 2.5;
    w.read_bytes += w.read_bytes + 2 * w.write_bytes;
    w.write_bytes = task.work.read_bytes;
    return;
  }
  if (task.kind == TaskKind::kLinearAttention) {
    // Each of its products is derived by both of its factors; the states of the chunks are made again.
    w.kernels *= 2;
    w.flop *= 2;
    w.read_bytes += task.work.read_bytes + out;
    w.write_bytes += in;
    return;
  }
  // Elementwise: the gradient and the forward input are read, the input's gradient is written.
  w.flop = 0;
  w.routing = {};
  w.weight_bytes = 0;
  w.read_bytes = in + out;
  w.write_bytes = in;
  if (task.kind == TaskKind::kRotary && task.work.kernels == 0) w.kernels = 0, w.read_bytes = w.write_bytes = 0;
}

}  // namespace shardscout::strategies
