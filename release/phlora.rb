# A Homebrew formula, for a tap of one's own. ADDRESS and CHECKSUM are those of the published archive of the sources.
class Phlora < Formula
  desc "LoRA adapters from the difference of two models"
  homepage "ADDRESS"
  url "ADDRESS/phlora-0.1.0.tar.gz"
  sha256 "CHECKSUM"
  license any_of: ["MIT", "Apache-2.0"]

  depends_on "rust" => :build

  def install
    system "cargo", "install", *std_cargo_args(path: "cli")
    system bin/"phlora", "generate", buildpath/"generated"
    man1.install Dir["generated/man/man1/*.1"]
    bash_completion.install "generated/completions/phlora.bash" => "phlora"
    zsh_completion.install "generated/completions/_phlora"
    fish_completion.install "generated/completions/phlora.fish"
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/phlora --version")
  end
end
