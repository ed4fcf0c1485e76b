#include "control/service.h"

namespace holdfast::control {

Service::~Service() = default;

}  // namespace holdfast::control
