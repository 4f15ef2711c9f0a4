# The server, unchanged and changed, on the prebuilt libllama-common of the same release; without its web interface, and
# without what images and sound would take. Arguments as for Makefile, which is to be run first.
SERVERS = $(BUILD)/server-plain $(BUILD)/server-changed
LINK = -L$(LLAMA) -Wl,-rpath,$(LLAMA) -lllama-common -lggml -lggml-base -lpthread -ldl
NAMES = $(notdir $(basename $(wildcard $(SOURCE)/plain/tools/server/*.cpp)))
# Only linked, never run: compiled as fast as can be.
MTMD = $(filter-out %/mtmd-cli.cpp %/deprecation-warning.cpp,$(wildcard $(SOURCE)/plain/tools/mtmd/*.cpp) $(wildcard $(SOURCE)/plain/tools/mtmd/models/*.cpp))
HASH = $(patsubst $(SOURCE)/plain/vendor/hash/%,$(BUILD)/hash/%.o,$(wildcard $(SOURCE)/plain/vendor/hash/*.cpp $(SOURCE)/plain/vendor/hash/*/*.c))
BESIDE = $(patsubst $(SOURCE)/plain/tools/mtmd/%.cpp,$(BUILD)/mtmd/%.o,$(MTMD)) $(BUILD)/httplib.o $(BUILD)/ui.o $(HASH)
flags = -std=c++17 -fPIC -DNDEBUG -DLLAMA_SHARED -DGGML_SHARED -DGGML_BACKEND_SHARED -DLLAMA_SUBPROCESS -I$(BUILD) \
	$(patsubst %,-I$(SOURCE)/$(1)/%,. include src ggml/include common vendor vendor/cpp-httplib tools/mtmd tools/server) -I$(PHLORA)/include

all: $(SERVERS)

$(BUILD)/ui.h:
	sed -e '/cmakedefine/d' -e 's/@N_ASSETS@/0/' $(SOURCE)/plain/tools/ui/ui.h.in >$@
$(BUILD)/ui.o: $(BUILD)/ui.h
	{ echo '#include "ui.h"'; echo 'const llama_ui_asset * llama_ui_find_asset(const std::string &) { return nullptr; }'; \
	  echo 'bool llama_ui_use_gzip() { return false; }'; \
	  echo 'const std::array<llama_ui_asset, 0> & llama_ui_get_assets() { static std::array<llama_ui_asset, 0> none; return none; }'; \
	} | $(CXX) $(call flags,plain) -x c++ -c - -o $@
$(BUILD)/httplib.o: $(SOURCE)/plain/vendor/cpp-httplib/httplib.cpp
	$(CXX) $(call flags,plain) -O1 -c $< -o $@
$(BUILD)/hash/%.cpp.o: $(SOURCE)/plain/vendor/hash/%.cpp
	mkdir -p $(dir $@)
	$(CXX) -std=c++17 -O1 -I$(SOURCE)/plain/vendor/hash -c $< -o $@
# Within a namespace of C++, although it ends in .c.
$(BUILD)/hash/sha1/sha1.c.o: $(SOURCE)/plain/vendor/hash/sha1/sha1.c
	mkdir -p $(dir $@)
	$(CXX) -O1 -I$(SOURCE)/plain/vendor/hash -x c++ -c $< -o $@
$(BUILD)/hash/%.c.o: $(SOURCE)/plain/vendor/hash/%.c
	mkdir -p $(dir $@)
	$(CC) -O1 -I$(SOURCE)/plain/vendor/hash -c $< -o $@
$(BUILD)/mtmd/%.o: $(SOURCE)/plain/tools/mtmd/%.cpp
	mkdir -p $(dir $@)
	$(CXX) $(call flags,plain) -DLLAMA_BUILD -I$(SOURCE)/plain/vendor/stb -I$(SOURCE)/plain/vendor/miniaudio -I$(SOURCE)/plain/vendor/hash -O0 -c $< -o $@
$(BUILD)/server/plain-%.o: $(SOURCE)/plain/tools/server/%.cpp $(BUILD)/ui.h
	mkdir -p $(dir $@)
	$(CXX) $(call flags,plain) -O1 -c $< -o $@
$(BUILD)/server/changed-%.o: $(SOURCE)/changed/tools/server/%.cpp $(wildcard $(SOURCE)/changed/tools/server/*.h) $(BUILD)/ui.h
	mkdir -p $(dir $@)
	$(CXX) $(call flags,changed) -O1 -c $< -o $@

$(BUILD)/server-plain: $(patsubst %,$(BUILD)/server/plain-%.o,$(NAMES)) $(BESIDE)
	$(CXX) -o $@ $^ -L$(LLAMA) -lllama $(LINK)
$(BUILD)/server-changed: $(patsubst %,$(BUILD)/server/changed-%.o,$(NAMES)) $(BESIDE) $(BUILD)/libllama.so
	$(CXX) -o $@ $(filter %.o,$^) -L$(BUILD) -Wl,-rpath,$(BUILD) -lllama $(LINK) -L$(PHLORA)/lib -Wl,-rpath,$(PHLORA)/lib -lphlora
