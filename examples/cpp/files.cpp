// Every file function through phlora.hpp: plans, extracts, verifies, prunes, converts, checks, merges and inspects.
//
//   files BASE TUNED DIRECTORY
#include <phlora.hpp>

#include <cstdio>
#include <string>

namespace files = phlora::files;

int main(int argc, char **argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: files BASE TUNED DIRECTORY\n");
    return 2;
  }
  const char *base = argv[1], *tuned = argv[2];
  const std::string to = argv[3];
  const std::string spectra = to + "/spectra.json", page = to + "/page.html", adapter = to + "/adapter";
  const std::string small = to + "/small", gguf = to + "/small.gguf", model = to + "/model";
  std::string message(1000, '\0');
  try {
    phlora_file_report report{};
    auto plan = files::options<phlora_plan_options>();
    plan.report_path = spectra.c_str();
    phlora::check(files::plan(base, tuned, plan, report, message));
    phlora_choice choice{};
    auto eighth = files::options<phlora_choice_options>();
    eighth.budget = 1 << 18;
    phlora::check(files::choice(spectra.c_str(), eighth, choice, message));
    phlora::check(files::page(spectra.c_str(), page.c_str(), false, message));

    auto extract = files::options<phlora_file_options>();
    extract.rank = 16;
    phlora::check(files::extract(base, tuned, adapter.c_str(), extract, report, message));
    phlora_verification kept{};
    phlora::check(files::verify(base, tuned, adapter.c_str(), files::options<phlora_verify_options>(), kept, message));

    auto prune = files::options<phlora_prune_options>();
    prune.rank = 4;
    phlora_pruned pruned{};
    phlora::check(files::prune(adapter.c_str(), small.c_str(), prune, pruned, message));
    auto convert = files::options<phlora_convert_options>();
    convert.base = base;
    phlora_converted converted{};
    phlora::check(files::convert(small.c_str(), gguf.c_str(), convert, converted, message));
    std::size_t errors = 0;
    phlora::check(files::check(small.c_str(), base, files::options<phlora_check_options>(), errors, message));
    const char *const list[] = {adapter.c_str()};
    phlora_merged merged{};
    phlora::check(files::merge(base, phlora::span<const char *const>(list, 1), model.c_str(),
                               files::options<phlora_merge_options>(), merged, message));
    phlora_contents contents{};
    phlora::check(files::inspect(model.c_str(), contents, message));
    std::printf("%.1f %% kept at rank 16, %.1f %% of that at rank 4; 256 KiB would keep %.1f %%; %llu weights merged\n",
                100 * kept.energy, 100 * pruned.energy, 100 * choice.energy,
                static_cast<unsigned long long>(merged.weights));
    return errors != 0 || contents.kind != PHLORA_CONTENTS_KIND_MODEL;
  } catch (const phlora::error &error) {
    std::fprintf(stderr, "phlora: %s: %s\n", error.what(), message.c_str());
    return 1;
  }
}
