#include "agents/decoder_stack.h"

#include "agents/decoder_kernels.h"
#include "shardscout/error.h"

namespace shardscout::agents {
namespace {

using std::int64_t;

/// What the backward of one layer needs.
enum Saved : std::size_t {
  kSelfNormal,
  kSelfRstd,
  kSelfIn,
  kQkv,
  kSelfP,
  kAttended,
  kCrossNormal,
  kCrossRstd,
  kCrossIn,
  kQuery,
  kMemoryKv,
  kCrossP,
  kRead,
  kFfnNormal,
  kFfnRstd,
  kFfnIn,
  kUp,
  kNumSaved
};

struct Normed {
  at::Tensor out, normal, rstd;
};

Normed Norm(const at::Tensor& x, const float* scale) {
  const int64_t rows = x.size(0), width = x.size(1);
  Normed n{at::empty_like(x), at::empty_like(x), at::empty({rows})};
  kernels::LayerNorm(x.data_ptr<float>(), scale, scale + width, rows, width, n.out.data_ptr<float>(),
                     n.normal.data_ptr<float>(), n.rstd.data_ptr<float>());
  return n;
}

class View {
 public:
  explicit View(const at::Tensor& vector) : vector_(vector) {}
  at::Tensor Matrix(int64_t offset, int64_t rows, int64_t columns) const {
    return at::as_strided(vector_, {rows, columns}, {columns, 1}, vector_.storage_offset() + offset);
  }
  at::Tensor Vector(int64_t offset, int64_t length) const {
    return at::as_strided(vector_, {length}, {1}, vector_.storage_offset() + offset);
  }
  float* data(int64_t offset) const { return vector_.data_ptr<float>() + offset; }

 private:
  const at::Tensor& vector_;
};

std::size_t ScratchSize(int64_t num_keys, int64_t head_size) {
  return static_cast<std::size_t>(kernels::Attention::ScratchSize(num_keys, head_size));
}

kernels::Attention SelfAttention(const DecoderStack::Shape& shape, int64_t length, std::vector<float>& scratch) {
  const int64_t head = shape.width / shape.num_heads;
  scratch.resize(ScratchSize(length, head));
  return {length, length, head, true, 3 * shape.width, 3 * shape.width, shape.width, scratch.data()};
}

kernels::Attention CrossAttention(const DecoderStack::Shape& shape, int64_t rows, int64_t tokens,
                                  std::vector<float>& scratch) {
  const int64_t head = shape.width / shape.num_heads;
  scratch.resize(ScratchSize(tokens, head));
  return {rows, tokens, head, false, shape.width, 2 * shape.width, shape.width, scratch.data()};
}

at::Tensor CrossForward(const DecoderStack::Shape& shape, const at::Tensor& query, const at::Tensor& kv,
                        at::Tensor& p) {
  const int64_t rows = query.size(0), tokens = kv.size(0);
  std::vector<float> scratch;
  const kernels::Attention attention = CrossAttention(shape, rows, tokens, scratch);
  p = at::empty({shape.num_heads, rows, tokens});
  at::Tensor read = at::empty_like(query);
  for (int64_t h = 0; h < shape.num_heads; ++h) {
    const int64_t at = h * attention.head_size;
    const float* k = kv.data_ptr<float>() + at;
    attention.Forward(query.data_ptr<float>() + at, k, k + shape.width, p.data_ptr<float>() + h * rows * tokens,
                      read.data_ptr<float>() + at);
  }
  return read;
}

class StackFunction : public torch::autograd::Function<StackFunction> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& input,
                            const at::Tensor& memory, const at::Tensor& weights, int64_t stack_address);
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients);
};

at::Tensor StackFunction::forward(torch::autograd::AutogradContext* context, const at::Tensor& input,
                                  const at::Tensor& memory, const at::Tensor& weights, int64_t stack_address) {
  const DecoderStack& stack = *reinterpret_cast<const DecoderStack*>(stack_address);
  const DecoderStack::Shape& shape = stack.shape();
  const int64_t count = input.size(0), length = input.size(1), rows = count * length, width = shape.width;
  const View view(weights);
  std::vector<float> scratch;
  std::vector<at::Tensor> saved = {memory, weights};
  at::Tensor x = input.reshape({rows, width});
  for (const DecoderStack::Offsets& at : stack.layers()) {
    const Normed self = Norm(x, view.data(at.self_norm));
    const at::Tensor qkv = at::mm(self.out, view.Matrix(at.qkv, width, 3 * width));
    at::Tensor self_p = at::empty({count, shape.num_heads, length, length});
    at::Tensor attended = at::empty({rows, width});
    const kernels::Attention attention = SelfAttention(shape, length, scratch);
    for (int64_t i = 0; i < count; ++i) {
      for (int64_t h = 0; h < shape.num_heads; ++h) {
        const float* q = qkv.data_ptr<float>() + i * length * 3 * width + h * attention.head_size;
        attention.Forward(q, q + width, q + 2 * width,
                          self_p.data_ptr<float>() + (i * shape.num_heads + h) * length * length,
                          attended.data_ptr<float>() + i * length * width + h * attention.head_size);
      }
    }
    x = at::addmm(x, attended, view.Matrix(at.self_out, width, width));
    const Normed cross = Norm(x, view.data(at.cross_norm));
    const at::Tensor query = at::mm(cross.out, view.Matrix(at.query, width, width));
    const at::Tensor kv = at::mm(memory, view.Matrix(at.memory_kv, width, 2 * width));
    at::Tensor cross_p;
    const at::Tensor read = CrossForward(shape, query, kv, cross_p);
    x = at::addmm(x, read, view.Matrix(at.cross_out, width, width));
    const Normed ffn = Norm(x, view.data(at.ffn_norm));
    at::Tensor up =
        at::addmm(view.Vector(at.up_bias, shape.ffn_width), ffn.out, view.Matrix(at.up, width, shape.ffn_width));
    up.relu_();
    x = at::addmm(x, up, view.Matrix(at.down, shape.ffn_width, width)).add_(view.Vector(at.down_bias, width));
    for (const at::Tensor& tensor : {self.normal, self.rstd, self.out, qkv, self_p, attended, cross.normal, cross.rstd,
                                     cross.out, query, kv, cross_p, read, ffn.normal, ffn.rstd, ffn.out, up}) {
      saved.push_back(tensor);
    }
  }
  const Normed last = Norm(x, view.data(stack.final_norm()));
  saved.push_back(last.normal);
  saved.push_back(last.rstd);
  context->save_for_backward(saved);
  context->saved_data["stack"] = stack_address;
  return last.out.view({count, length, width});
}

torch::autograd::variable_list StackFunction::backward(torch::autograd::AutogradContext* context,
                                                       torch::autograd::variable_list gradients) {
  const DecoderStack& stack = *reinterpret_cast<const DecoderStack*>(context->saved_data["stack"].toInt());
  const DecoderStack::Shape& shape = stack.shape();
  const int64_t width = shape.width, heads = shape.num_heads, ffn_width = shape.ffn_width;
  const torch::autograd::variable_list saved = context->get_saved_variables();
  const at::Tensor& memory = saved[0];
  const at::Tensor& weights = saved[1];
  const int64_t count = gradients[0].size(0), length = gradients[0].size(1), rows = count * length,
                tokens = memory.size(0);
  const at::Tensor dout = gradients[0].contiguous();
  at::Tensor dweights = at::zeros_like(weights), dmemory = at::zeros_like(memory);
  const View view(weights), dview(dweights);
  std::vector<float> scratch;
  at::Tensor dx = at::zeros({rows, width});
  const auto norm_backward = [&](const at::Tensor& dy, const at::Tensor& normal, const at::Tensor& rstd,
                                 int64_t offset) {
    kernels::LayerNormBackward(dy.data_ptr<float>(), normal.data_ptr<float>(), rstd.data_ptr<float>(),
                               view.data(offset), rows, width, dx.data_ptr<float>(), dview.data(offset),
                               dview.data(offset + width));
  };
  // y = a W: adds a^T dy to the gradient of W and returns that of a.
  const auto product_backward = [&](const at::Tensor& a, const at::Tensor& dy, int64_t offset) {
    const int64_t in = a.size(1), out = dy.size(1);
    at::Tensor dweight = dview.Matrix(offset, in, out);
    at::mm_out(dweight, a.t(), dy);
    return at::mm(dy, view.Matrix(offset, in, out).t());
  };
  norm_backward(dout, saved[saved.size() - 2], saved[saved.size() - 1], stack.final_norm());
  for (std::size_t l = stack.layers().size(); l-- > 0;) {
    const DecoderStack::Offsets& at = stack.layers()[l];
    const auto kept = [&](Saved what) -> const at::Tensor& { return saved[2 + l * kNumSaved + what]; };

    dview.Vector(at.down_bias, width).copy_(dx.sum(0));
    at::Tensor dup = product_backward(kept(kUp), dx, at.down);
    dup.mul_(kept(kUp).gt(0));
    dview.Vector(at.up_bias, ffn_width).copy_(dup.sum(0));
    norm_backward(product_backward(kept(kFfnIn), dup, at.up), kept(kFfnNormal), kept(kFfnRstd), at.ffn_norm);

    const at::Tensor dread = product_backward(kept(kRead), dx, at.cross_out);
    at::Tensor dquery = at::empty_like(dread), dkv = at::zeros({tokens, 2 * width});
    const kernels::Attention cross = CrossAttention(shape, rows, tokens, scratch);
    for (int64_t h = 0; h < heads; ++h) {
      const int64_t offset = h * cross.head_size;
      const float* k = kept(kMemoryKv).data_ptr<float>() + offset;
      float* dk = dkv.data_ptr<float>() + offset;
      cross.Backward(kept(kQuery).data_ptr<float>() + offset, k, k + width,
                     kept(kCrossP).data_ptr<float>() + h * rows * tokens, dread.data_ptr<float>() + offset,
                     dquery.data_ptr<float>() + offset, dk, dk + width);
    }
    dmemory.add_(product_backward(memory, dkv, at.memory_kv));
    norm_backward(product_backward(kept(kCrossIn), dquery, at.query), kept(kCrossNormal), kept(kCrossRstd),
                  at.cross_norm);

    const at::Tensor dattended = product_backward(kept(kAttended), dx, at.self_out);
    at::Tensor dqkv = at::zeros({rows, 3 * width});
    const kernels::Attention self = SelfAttention(shape, length, scratch);
    for (int64_t i = 0; i < count; ++i) {
      for (int64_t h = 0; h < heads; ++h) {
        const int64_t offset = i * length * 3 * width + h * self.head_size;
        const float* q = kept(kQkv).data_ptr<float>() + offset;
        float* dq = dqkv.data_ptr<float>() + offset;
        self.Backward(q, q + width, q + 2 * width, kept(kSelfP).data_ptr<float>() + (i * heads + h) * length * length,
                      dattended.data_ptr<float>() + i * length * width + h * self.head_size, dq, dq + width,
                      dq + 2 * width);
      }
    }
    norm_backward(product_backward(kept(kSelfIn), dqkv, at.qkv), kept(kSelfNormal), kept(kSelfRstd), at.self_norm);
  }
  return {dx.view({count, length, width}), dmemory, dweights, at::Tensor()};
}

}  // namespace

DecoderStack::DecoderStack(const Shape& shape) : shape_(shape) {
  SHARDSCOUT_CHECK_OP(shape.width % 8, ==, 0);
  SHARDSCOUT_CHECK_OP(shape.width % (4 * shape.num_heads), ==, 0);
  SHARDSCOUT_CHECK_OP(shape.width, <=, 1024);
  const int64_t width = shape.width;
  const auto take = [this](int64_t length) {
    const int64_t offset = num_weights_;
    num_weights_ += length;
    return offset;
  };
  for (int64_t l = 0; l < shape.num_layers; ++l) {
    Offsets at{};
    at.self_norm = take(2 * width);
    at.qkv = take(3 * width * width);
    at.self_out = take(width * width);
    at.cross_norm = take(2 * width);
    at.query = take(width * width);
    at.memory_kv = take(2 * width * width);
    at.cross_out = take(width * width);
    at.ffn_norm = take(2 * width);
    at.up = take(width * shape.ffn_width);
    at.up_bias = take(shape.ffn_width);
    at.down = take(shape.ffn_width * width);
    at.down_bias = take(width);
    layers_.push_back(at);
  }
  final_norm_ = take(2 * width);
}

at::Tensor DecoderStack::Forward(const at::Tensor& x, const at::Tensor& memory, const at::Tensor& weights) const {
  return StackFunction::apply(x, memory, weights, reinterpret_cast<int64_t>(this));
}

DecoderStack::Cache DecoderStack::MakeCache(int64_t num_sequences, int64_t length, const at::Tensor& memory,
                                            const at::Tensor& weights) const {
  const at::NoGradGuard no_grad;
  const View view(weights);
  Cache cache;
  for (const Offsets& at : layers_) {
    cache.self.push_back(at::empty({num_sequences, length, 2 * shape_.width}));
    cache.memory.push_back(at::mm(memory, view.Matrix(at.memory_kv, shape_.width, 2 * shape_.width)));
  }
  return cache;
}

at::Tensor DecoderStack::Step(const at::Tensor& input, const at::Tensor& weights, Cache& cache) const {
  const at::NoGradGuard no_grad;
  const int64_t count = input.size(0), width = shape_.width, position = cache.position++;
  const View view(weights);
  at::Tensor x = input.contiguous();
  for (std::size_t l = 0; l < layers_.size(); ++l) {
    const Offsets& at = layers_[l];
    const at::Tensor qkv = at::mm(Norm(x, view.data(at.self_norm)).out, view.Matrix(at.qkv, width, 3 * width));
    at::Tensor attended = at::empty({count, width});
    const int64_t head = width / shape_.num_heads, stride = cache.self[l].size(1) * 2 * width;
    std::vector<float> scratch(ScratchSize(position + 1, head));
    std::vector<float> p(static_cast<std::size_t>(position + 1));
    const kernels::Attention attention{1, position + 1, head, false, 3 * width, 2 * width, width, scratch.data()};
    for (int64_t i = 0; i < count; ++i) {
      const float* q = qkv.data_ptr<float>() + i * 3 * width;
      float* seen = cache.self[l].data_ptr<float>() + i * stride;
      std::copy(q + width, q + 3 * width, seen + position * 2 * width);
      for (int64_t h = 0; h < shape_.num_heads; ++h) {
        attention.Forward(q + h * head, seen + h * head, seen + width + h * head, p.data(),
                          attended.data_ptr<float>() + i * width + h * head);
      }
    }
    x = at::addmm(x, attended, view.Matrix(at.self_out, width, width));
    const at::Tensor query = at::mm(Norm(x, view.data(at.cross_norm)).out, view.Matrix(at.query, width, width));
    at::Tensor cross_p;
    x = at::addmm(x, CrossForward(shape_, query, cache.memory[l], cross_p), view.Matrix(at.cross_out, width, width));
    at::Tensor up = at::addmm(view.Vector(at.up_bias, shape_.ffn_width), Norm(x, view.data(at.ffn_norm)).out,
                              view.Matrix(at.up, width, shape_.ffn_width));
    up.relu_();
    x = at::addmm(x, up, view.Matrix(at.down, shape_.ffn_width, width)).add_(view.Vector(at.down_bias, width));
  }
  return Norm(x, view.data(final_norm_)).out;
}

}  // namespace shardscout::agents
