// A small batch server: one base layer, many adapters, each request with its own; adapters come and go while batches
// run. Two workers take batches of tokens from a shared counter; the main thread replaces adapters meanwhile, until
// enough batches were served and every adapter was replaced. Every answer is compared with the adapter's version that
// it was made with.
#include <phlora.hpp>

#include <atomic>
#include <cmath>
#include <cstdio>
#include <memory>
#include <random>
#include <thread>
#include <vector>

namespace {

constexpr std::size_t out_features = 96, in_features = 128, rank = 8, tokens = 12, batches = 400;
constexpr std::uint32_t adapter_count = 5;

// What an id stands for: the factors of all layers; here there is one.
struct model {
  std::vector<float> a, b;
  phlora_adapter view{};
};

std::unique_ptr<model> make_model(std::uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  auto made = std::make_unique<model>();
  made->a.resize(rank * in_features);
  made->b.resize(out_features * rank);
  for (float &value : made->a) value = normal(random);
  for (float &value : made->b) value = normal(random);
  made->view = phlora::adapter(out_features, in_features, rank,
                               {made->a.data(), made->a.size() * sizeof(float), PHLORA_DTYPE_F32},
                               {made->b.data(), made->b.size() * sizeof(float), PHLORA_DTYPE_F32}, 0.5f);
  phlora::check(phlora_adapter_check(&made->view));
  return made;
}

// y += s·B·(A·x) of one token, the plain way.
double furthest(const model &used, float weight, const float *x, const float *y) {
  std::vector<double> t(rank, 0.0);
  for (std::size_t k = 0; k < rank; k++)
    for (std::size_t j = 0; j < in_features; j++) t[k] += double(used.a[k * in_features + j]) * double(x[j]);
  double largest = 0;
  for (std::size_t i = 0; i < out_features; i++) {
    double expected = 0;
    for (std::size_t k = 0; k < rank; k++) expected += double(used.b[i * rank + k]) * t[k];
    largest = std::fmax(largest, std::fabs(expected * 0.5 * double(weight) - double(y[i])));
  }
  return largest;
}

struct worker {
  phlora::registry<model> &registry;
  std::atomic<std::size_t> &next;
  std::atomic<bool> &stop;
  double largest = 0;

  void run() {
    std::vector<float> x(tokens * in_features), y(tokens * out_features), work;
    std::vector<phlora_assignment> uses;
    std::vector<const phlora_adapter *> layer;
    phlora::registry<model>::pins pins;
    phlora::batch layer_batch;
    while (!stop) {
      const std::size_t batch = next++;
      std::mt19937 random(static_cast<std::uint32_t>(batch));
      std::normal_distribution<float> normal;
      for (float &value : x) value = normal(random);
      // The base layer would write y; here it is zero. The last token uses no adapter.
      y.assign(y.size(), 0.0f);
      uses.clear();
      for (std::uint32_t token = 0; token + 1 < tokens; token++)
        uses.push_back({token, 100 + static_cast<std::uint32_t>(random() % adapter_count), 1.0f});

      // Once per batch: the adapters as they are now. Once per layer: who uses what there.
      phlora::check(registry.pin(uses, pins));
      layer.clear();
      for (std::size_t i = 0; i < pins.size(); i++) layer.push_back(&pins[i]->view);
      phlora::check(layer_batch.start(out_features, in_features, tokens, layer, uses));
      work.resize(layer_batch.work_len());
      phlora::check(layer_batch.forward(phlora::inputs(x, in_features), phlora::outputs(y, out_features), work));

      for (const phlora_assignment &use : uses)
        largest = std::fmax(largest, furthest(*pins[use.adapter], use.weight, &x[use.token * in_features],
                                              &y[use.token * out_features]));
      for (std::size_t i = (tokens - 1) * out_features; i < y.size(); i++)
        largest = std::fmax(largest, double(std::fabs(y[i])));
    }
  }
};

}  // namespace

int main() {
  try {
    phlora::registry<model> registry;
    phlora::check(registry.start(64));
    for (std::uint32_t i = 0; i < adapter_count; i++) {
      auto made = make_model(i);
      phlora::check(registry.add(100 + i, made.get(), made->a.size() + made->b.size()));
      static_cast<void>(made.release());  // the registry's now
    }

    std::atomic<std::size_t> next{0};
    std::atomic<bool> stop{false};
    worker workers[2] = {{registry, next, stop}, {registry, next, stop}};
    std::thread first([&] { workers[0].run(); }), second([&] { workers[1].run(); });
    std::uint32_t version = adapter_count, swapped = 0;
    while (next < batches || swapped < adapter_count) {
      while (model *unused = registry.reclaim()) delete unused;
      auto made = make_model(version++);
      model *old = nullptr;
      const std::size_t bytes = made->a.size() + made->b.size();
      phlora_status status = registry.replace(100 + version % adapter_count, made.get(), bytes, old);
      if (status == PHLORA_STATUS_REGISTRY_FULL) continue;  // too many old ones are still in use
      phlora::check(status);
      static_cast<void>(made.release());
      delete old;
      swapped++;
    }
    stop = true;
    first.join();
    second.join();
    while (model *unused = registry.reclaim()) delete unused;
    for (std::uint32_t i = 0; i < adapter_count; i++) {
      model *old = nullptr;
      phlora::check(registry.remove(100 + i, old));
      delete old;
    }
    const double largest = std::fmax(workers[0].largest, workers[1].largest);
    std::printf("%zu batches of %zu tokens over %u adapters, %u swaps meanwhile: largest difference %.1e\n",
                next.load(), tokens, adapter_count, swapped, largest);
    return largest < 1e-3 ? 0 : 1;
  } catch (const phlora::error &error) {
    std::fprintf(stderr, "phlora: %s\n", error.what());
    return 1;
  }
}
