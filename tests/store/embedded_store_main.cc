// The embedded store alone: embedded-store FILE ADDRESS. Runs until it is killed.
#include <cstdio>

#include <unistd.h>

#include "store/embedded_server.h"

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  holdfast::store::EmbeddedOptions options;
  options.path = argv[1];
  options.listen = argv[2];
  options.seed = static_cast<unsigned>(::getpid());
  const auto server = holdfast::store::EmbeddedServer::start(std::move(options));
  if (!server.ok()) {
    std::fprintf(stderr, "%s\n", server.error().message().c_str());
    return 1;
  }
  for (;;) ::pause();
}
