#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <string>

#include "env/analytical/gemm_time.h"
#include "env/calibration/curve_parameters.h"
#include "shardscout/calibration.h"
#include "shardscout/error.h"
#include "shardscout/preset_paths.h"

namespace shardscout {
namespace {

namespace fs = std::filesystem;

class CalibrateTest : public testing::Test {
 protected:
  void SetUp() override { fs::create_directories(folder_ / "operators"); }
  void TearDown() override { fs::remove_all(folder_); }

  void Write(const std::string& name, const std::string& text) const {
    std::ofstream(folder_ / "operators" / name, std::ios::binary) << text;
  }
  std::string ErrorOf(const ClusterSpec& cluster) const {
    try {
      Calibrate({folder_.string()}, {cluster});
    } catch (const SpecError& error) {
      return error.what();
    }
    return "";
  }
  static ClusterSpec H100() { return LoadCluster("h100-sxm"); }

  const fs::path folder_ =
      fs::path(testing::TempDir()) / ("shardscout_calibrate_" + std::to_string(std::random_device()()));
};

/// Twenty products do not tell ten parameters. They move the reference's, scaled, by what they tell.
TEST_F(CalibrateTest, AFewMeasurementsMoveTheReferencesCurve) {
  const ClusterSpec b200 = LoadCluster("b200-sxm");
  const GemmCurve before = ReferenceCurves(b200.device).gemm_nvfp4;
  GemmCurve truth = before;
  truth.peak_fraction = 0.5;
  truth.quantise_s = 2e-6;
  const internal::DeviceRates rates = internal::RatesOf(b200.device, DType::kNvfp4);
  std::string table = "gemm_dtype,m,n,k,latency_ms\n";
  double before_error = 0;
  for (double m : {1, 64, 512, 8192}) {
    for (double n : {1024, 4096, 8192, 16384, 65536}) {
      const double k = 8192;
      const internal::GemmShape shape = {
          .m = m, .n = n, .k = k, .input_bytes = 9.0 / 16, .bytes = 2 * m * k + 9.0 / 16 * n * k + 2 * m * n};
      const double time_s = internal::GemmTime(truth, rates, shape);
      before_error += std::abs(internal::GemmTime(before, rates, shape) / time_s - 1) / 20;
      table += "nvfp4," + std::to_string(m) + "," + std::to_string(n) + "," + std::to_string(k) + "," +
               std::to_string(time_s * 1e3) + "\n";
    }
  }
  Write("gemm_b200_sxm.csv", table);
  const std::vector<FittedCurve> curves = Calibrate({"none", folder_.string()}, {b200});
  ASSERT_EQ(curves.size(), 1u);
  EXPECT_EQ(curves.front().type, "nvfp4");
  EXPECT_GT(before_error, 0.2);
  EXPECT_LT(curves.front().fitted.median, 0.02);
  EXPECT_LT(curves.front().held_out.median, 0.06);
  EXPECT_NEAR(env::CurveOf<GemmCurve>(curves.front()).peak_fraction, 0.5, 0.03);
  EXPECT_NEAR(env::CurveOf<GemmCurve>(curves.front()).split_s / before.split_s, 1, 0.5) << "hardly told";
}

TEST_F(CalibrateTest, FindsTheCurveThatATableWasMadeFrom) {
  const GemmCurve truth = {.peak_fraction = 0.7, .hbm_fraction = 0.9, .launch_s = 4e-6, .k_step_s = 2e-9};
  std::string table = "gemm_dtype,m,n,k,latency_ms\n";
  for (double m : {1, 4, 16, 17, 64, 128, 200, 256, 1024, 4096, 8192}) {
    for (double n : {64, 256, 1024, 4096, 16384}) {
      for (double k : {64, 512, 2048, 8192, 32768}) {
        const internal::GemmShape shape = {.m = m, .n = n, .k = k, .bytes = 2 * (m * k + n * k + m * n)};
        const double time_s = internal::GemmTime(truth, {132, 989e12, 3.35e12}, shape);
        table += "bfloat16," + std::to_string(m) + "," + std::to_string(n) + "," + std::to_string(k) + "," +
                 std::to_string(time_s * 1e3) + "\n";
      }
    }
  }
  Write("gemm_h100_sxm.csv", table);
  const std::vector<FittedCurve> curves = Calibrate({folder_.string()}, {H100()});
  ASSERT_EQ(curves.size(), 1u);
  const FittedCurve& curve = curves.front();
  EXPECT_EQ(curve.device, "h100_sxm");
  EXPECT_EQ(curve.family, "gemm");
  EXPECT_EQ(curve.type, "bfloat16");
  EXPECT_EQ(curve.held_out.count, 275u);
  EXPECT_LT(curve.held_out.median, 0.01);
  EXPECT_LT(curve.held_out.p90, 0.05);
  EXPECT_GT(curve.roofline.median, 0.2);
  const std::map<std::string, double> fitted(curve.parameters.begin(), curve.parameters.end());
  EXPECT_NEAR(fitted.at("launch_s") / 4e-6, 1, 0.05);
  EXPECT_NEAR(fitted.at("peak_fraction"), 0.7, 0.02);
  EXPECT_NEAR(fitted.at("hbm_fraction"), 0.9, 0.02);
  EXPECT_EQ(fitted.at("quantise_s"), 0) << "bf16 quantises nothing";
}

TEST_F(CalibrateTest, MistakesNameTheTable) {
  EXPECT_NE(ErrorOf(H100()).find("no table such as operators/gemm_DEVICE.csv"), std::string::npos);
  EXPECT_NE(ErrorOf(H100()).find("h100_sxm"), std::string::npos);
  Write("gemm_h100_sxm.csv", "gemm_dtype,m,n,k,latency_ms\nfp9,1,1,1,1\n");
  EXPECT_NE(ErrorOf(H100()).find("gemm_h100_sxm.csv: fp9"), std::string::npos);
  EXPECT_NE(ErrorOf(H100()).find("did you mean \"fp8\"?"), std::string::npos);
  Write("gemm_h100_sxm.csv", "gemm_dtype,m,n,latency_ms\nfp8,1,1,1\n");
  EXPECT_NE(ErrorOf(H100()).find("no column \"k\""), std::string::npos);
  Write("gemm_h100_sxm.csv", "gemm_dtype,m,n,k,latency_ms\nfp8,1,1,1,0\n");
  EXPECT_NE(ErrorOf(H100()).find("row 1, column latency_ms: found \"0\""), std::string::npos);
  Write("gemm_h100_sxm.csv", "gemm_dtype,m,n,k,latency_ms\nfp8,1,1,1,1\n");
  EXPECT_NE(ErrorOf(H100()).find("found 0 measurements beside the shapes that are held out for 12 parameters, expected "
                                 "one or more"),
            std::string::npos)
      << ErrorOf(H100());
}

/// GB200's products were not measured: it carries B200's curves, which its own collectives do not replace.
TEST(ClusterFile, KeepsCurvesThatNoTableTellsOf) {
  const std::string path = ResolvePreset("clusters", "gb200-nvl72", "test");
  const ClusterSpec before = LoadCluster(path);
  const ClusterSpec after = ParseCluster(ClusterFileWithCurves(ReadTextFile(path), path, {}), path, std::nullopt);
  EXPECT_EQ(after.device.curves, before.device.curves);
  EXPECT_NE(after.device.curves.gemm_nvfp4, ReferenceCurves(before.device).gemm_nvfp4);
  EXPECT_FALSE(after.tiers[0].nccl.has_value());
}

TEST(PooledTest, TakesAllTypesOfADevicesFamilyTogether) {
  std::vector<FittedCurve> curves(3);
  for (FittedCurve& curve : curves) {
    curve.device = "x";
    curve.family = "gemm";
    curve.measured_s = {1, 1};
    curve.roofline_s = {0.5, 0.5};
    curve.fitted_s = {1, 1};
  }
  curves[0].held_out_s = {1.1, 1.2};
  curves[1].held_out_s = {1.3, 0.6};
  curves[2].held_out_s = {2, 2};
  curves[2].device = "y";
  const std::vector<FittedCurve> pooled = Pooled(curves);
  ASSERT_EQ(pooled.size(), 2u);
  EXPECT_EQ(pooled[0].type, "all");
  EXPECT_EQ(pooled[0].held_out.count, 4u);
  EXPECT_NEAR(pooled[0].held_out.median, 0.3, 1e-12);
  EXPECT_NEAR(pooled[0].held_out.p90, 0.4, 1e-12);
  EXPECT_NEAR(pooled[0].roofline.median, 0.5, 1e-12);
  EXPECT_EQ(pooled[1].device, "y");
}

TEST(CalibrationCsvTest, HasARowACurve) {
  FittedCurve curve;
  curve.device = "h100_sxm";
  curve.family = "gemm";
  curve.type = "fp8";
  curve.parameters = {{"launch_s", 2.5e-6}, {"peak_fraction", 0.75}};
  curve.held_out = {.count = 10, .median = 0.05, .p90 = 0.25};
  EXPECT_EQ(CalibrationCsv({curve}),
            "device,family,type,measurements,held_out_median,held_out_p90,fitted_median,fitted_p90,roofline_median,"
            "roofline_p90,parameters\r\n"
            "h100_sxm,gemm,fp8,10,0.05,0.25,,,,,launch_s=2.5e-06 peak_fraction=0.75\r\n");
}

}  // namespace
}  // namespace shardscout
