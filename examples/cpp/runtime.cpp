/*
 * A program that owns its tensors, as an inference runtime does: a base weight in bf16, a fine-tuned one in f32.
 * Extracts the adapter with phlora.hpp and checks that B·A is what the report says.
 */
#include <phlora.hpp>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <vector>

namespace {

struct tensor {
    std::size_t rows, cols;
    phlora_dtype dtype;
    std::vector<std::uint8_t> bytes;

    std::size_t row_bytes() const { return bytes.size() / rows; }
    phlora::rows block(std::size_t first, std::size_t count) const {
        return {bytes.data() + first * row_bytes(), count * row_bytes(), dtype};
    }
};

std::vector<std::uint8_t> stored(const std::vector<float> &values, phlora_dtype dtype) {
    std::vector<std::uint8_t> bytes(values.size() * (dtype == PHLORA_DTYPE_F32 ? 4 : 2));
    phlora::check(phlora_encode(values.data(), values.size(), dtype, bytes.data(), bytes.size()));
    return bytes;
}

std::vector<float> loaded(const tensor &weight) {
    std::vector<float> values(weight.rows * weight.cols);
    phlora::check(phlora_decode(weight.bytes.data(), weight.bytes.size(), weight.dtype, values.data(),
                                values.size()));
    return values;
}

int run() {
    const std::size_t rows = 300, cols = 200, rank = 8;
    std::vector<float> before(rows * cols), after(rows * cols);
    std::uint32_t state = 7;
    for (std::size_t i = 0; i < before.size(); i++) {
        state = state * 1664525u + 1013904223u;
        before[i] = static_cast<float>(state >> 8) / 16777216.0f - 0.5f;
        const auto row = static_cast<float>(i / cols), col = static_cast<float>(i % cols);
        after[i] = before[i] + 0.1f * std::sin(row / 9.0f + col / 5.0f) + 0.02f * std::cos(row * col / 99.0f);
    }
    const tensor base{rows, cols, PHLORA_DTYPE_BF16, stored(before, PHLORA_DTYPE_BF16)};
    const tensor tuned{rows, cols, PHLORA_DTYPE_F32, stored(after, PHLORA_DTYPE_F32)};

    phlora_options options = phlora::default_options();
    options.rank = rank;
    phlora::extraction extraction;
    phlora::check(extraction.start(options, rows, cols));
    while (extraction.wants_pass()) {
        for (std::size_t first = 0; first < rows; first += 50)
            phlora::check(extraction.push(base.block(first, 50), tuned.block(first, 50)));
        phlora::check(extraction.end_pass());
    }
    std::vector<float> a(extraction.plan().a_len), b(extraction.plan().b_len), sigma(rank);
    phlora_report report;
    phlora::check(extraction.finish(a, b, sigma, report));

    const std::vector<float> start = loaded(base);
    double all = 0, rest = 0;
    for (std::size_t i = 0; i < rows; i++)
        for (std::size_t j = 0; j < cols; j++) {
            const double delta = static_cast<double>(after[i * cols + j]) - static_cast<double>(start[i * cols + j]);
            double product = 0;
            for (std::size_t k = 0; k < rank; k++)
                product += static_cast<double>(b[i * rank + k]) * static_cast<double>(a[k * cols + j]);
            all += delta * delta;
            rest += (delta - product) * (delta - product);
        }
    std::printf("kept energy %.6f, measured %.6f\n", report.energy, 1.0 - rest / all);
    return std::fabs(report.energy - (1.0 - rest / all)) < 1e-4 ? 0 : 1;
}

}  // namespace

int main() {
    try {
        return run();
    } catch (const phlora::error &error) {
        std::fprintf(stderr, "%s: %s\n", phlora_status_name(error.status()), error.what());
        return 1;
    }
}
