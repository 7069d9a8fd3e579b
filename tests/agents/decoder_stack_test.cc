#include "agents/decoder_stack.h"

#include <gtest/gtest.h>

#include <cmath>

#include "agents/decoder_kernels.h"
#include "shardscout/random.h"

namespace shardscout::agents {
namespace {

using std::int64_t;

at::Tensor RandomTensor(std::vector<int64_t> shape, Rng& rng, double scale = 1) {
  at::Tensor out = at::empty(shape);
  for (int64_t i = 0; i < out.numel(); ++i) {
    out.data_ptr<float>()[i] = static_cast<float>(scale * (2 * rng.Uniform() - 1));
  }
  return out;
}

/// The same layers made of torch's operations.
class Reference {
 public:
  Reference(const DecoderStack& stack, const at::Tensor& weights) : stack_(stack), weights_(weights) {}

  at::Tensor Forward(at::Tensor x, const at::Tensor& memory) const {
    const DecoderStack::Shape& shape = stack_.shape();
    const int64_t width = shape.width, length = x.size(1);
    const at::Tensor mask = at::full({length, length}, -1e30F).triu(1);
    for (const DecoderStack::Offsets& at : stack_.layers()) {
      const std::vector<at::Tensor> qkv =
          at::matmul(Norm(x, at.self_norm), Part(at.qkv, {width, 3 * width})).chunk(3, -1);
      x = x + at::matmul(Attend(qkv[0], qkv[1], qkv[2], mask), Part(at.self_out, {width, width}));
      const std::vector<at::Tensor> kv =
          at::matmul(memory.unsqueeze(0).expand({x.size(0), -1, -1}), Part(at.memory_kv, {width, 2 * width}))
              .chunk(2, -1);
      const at::Tensor query = at::matmul(Norm(x, at.cross_norm), Part(at.query, {width, width}));
      x = x + at::matmul(Attend(query, kv[0], kv[1], at::zeros({1})), Part(at.cross_out, {width, width}));
      const at::Tensor up = at::relu(at::matmul(Norm(x, at.ffn_norm), Part(at.up, {width, shape.ffn_width})) +
                                     Part(at.up_bias, {shape.ffn_width}));
      x = x + at::matmul(up, Part(at.down, {shape.ffn_width, width})) + Part(at.down_bias, {width});
    }
    return Norm(x, stack_.final_norm());
  }

 private:
  at::Tensor Part(int64_t offset, std::vector<int64_t> shape) const {
    int64_t length = 1;
    for (const int64_t n : shape) length *= n;
    return weights_.narrow(0, offset, length).view(shape);
  }
  at::Tensor Norm(const at::Tensor& x, int64_t offset) const {
    const int64_t width = stack_.shape().width;
    return at::layer_norm(x, {width}, Part(offset, {width}), Part(offset + width, {width}));
  }
  at::Tensor Attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& mask) const {
    const int64_t heads = stack_.shape().num_heads;
    const auto split = [heads](const at::Tensor& x) {
      return x.view({x.size(0), x.size(1), heads, -1}).transpose(1, 2);
    };
    const double scale = 1 / std::sqrt(static_cast<double>(stack_.shape().width / heads));
    const at::Tensor scores = at::matmul(split(q), split(k.contiguous()).transpose(-1, -2)) * scale + mask;
    return at::matmul(at::softmax(scores, -1), split(v.contiguous())).transpose(1, 2).reshape(q.sizes());
  }

  const DecoderStack& stack_;
  const at::Tensor& weights_;
};

class DecoderStackTest : public testing::TestWithParam<DecoderStack::Shape> {
 protected:
  Rng rng_{3};
  const DecoderStack stack_{GetParam()};
  const int64_t width_ = GetParam().width;
  at::Tensor weights_ = RandomTensor({stack_.NumWeights()}, rng_, 0.3);
  at::Tensor x_ = RandomTensor({3, 7, width_}, rng_);
  at::Tensor memory_ = RandomTensor({5, width_}, rng_);
};

TEST_P(DecoderStackTest, ValueAndGradientsAgreeWithTorchsOperations) {
  const at::Tensor direction = RandomTensor({3, 7, width_}, rng_);
  std::vector<std::vector<at::Tensor>> gradients;
  std::vector<at::Tensor> values;
  for (const bool fused : {true, false}) {
    at::Tensor w = weights_.clone().requires_grad_(true), x = x_.clone().requires_grad_(true);
    at::Tensor memory = memory_.clone().requires_grad_(true);
    values.push_back(fused ? stack_.Forward(x, memory, w) : Reference(stack_, w).Forward(x, memory));
    (values.back() * direction).sum().backward();
    gradients.push_back({w.grad(), x.grad(), memory.grad()});
  }
  EXPECT_TRUE(at::allclose(values[0], values[1], 1e-4, 1e-5));
  for (std::size_t i = 0; i < 3; ++i) {
    const double largest = gradients[1][i].abs().max().item<double>();
    EXPECT_GT(largest, 0);
    EXPECT_LT((gradients[0][i] - gradients[1][i]).abs().max().item<double>(), 1e-4 * largest) << i;
  }
}

TEST_P(DecoderStackTest, StepByStepIsTheSame) {
  const at::Tensor whole = stack_.Forward(x_, memory_, weights_);
  DecoderStack::Cache cache = stack_.MakeCache(3, 7, memory_, weights_);
  for (int64_t t = 0; t < 7; ++t) {
    const at::Tensor row = stack_.Step(x_.select(1, t), weights_, cache);
    EXPECT_TRUE(at::allclose(row, whole.select(1, t), 1e-5, 1e-5)) << t;
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, DecoderStackTest,
                         testing::Values(DecoderStack::Shape{64, 4, 128, 2}, DecoderStack::Shape{24, 2, 40, 1},
                                         DecoderStack::Shape{32, 4, 40, 1}, DecoderStack::Shape{32, 1, 8, 3}));

TEST(DecoderKernelsTest, Exponential) {
  for (double x = -80; x <= 0; x += 0.37) {
    EXPECT_NEAR(kernels::ExpNonPositive(static_cast<float>(x)) / std::exp(static_cast<double>(static_cast<float>(x))),
                1, 3e-7)
        << x;
  }
  EXPECT_EQ(kernels::ExpNonPositive(0), 1);
}

TEST(DecoderKernelsTest, LogSoftmaxAndItsGradient) {
  for (const std::size_t n : {1u, 3u, 4u, 9u, 100u}) {
    Rng rng(n);
    const at::Tensor logits = RandomTensor({static_cast<int64_t>(n)}, rng, 4);
    at::Tensor x = logits.clone().requires_grad_(true);
    const at::Tensor logp = at::log_softmax(x, 0);
    const at::Tensor entropy = -(logp.exp() * logp).sum();
    const int64_t chosen = static_cast<int64_t>(n / 2);
    (logp[chosen] * 0.7F + entropy * -1.3F).backward();
    std::vector<float> mine(logits.data_ptr<float>(), logits.data_ptr<float>() + n), gradient(n);
    EXPECT_NEAR(kernels::LogSoftmax(mine.data(), static_cast<int64_t>(n)), entropy.item<double>(), 2e-6);
    kernels::LogSoftmaxBackward(mine.data(), static_cast<int64_t>(n), entropy.item<float>(), chosen, 0.7F, -1.3F,
                                gradient.data());
    for (std::size_t i = 0; i < n; ++i) {
      EXPECT_NEAR(mine[i], logp.data_ptr<float>()[i], 2e-6) << n << " " << i;
      EXPECT_NEAR(gradient[i], x.grad().data_ptr<float>()[i], 2e-6) << n << " " << i;
    }
  }
}

}  // namespace
}  // namespace shardscout::agents
