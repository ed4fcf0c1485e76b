// Labels of nodes and pools, as users set and remove them.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"
#include "control/model/labels.h"

namespace holdfast::control {

// `whose`: "node n1", for the errors. Errors: those of check_label(); FailedPrecondition: it has another value, which
// is to stay.
Status set_label(Labels& labels, std::string_view whose, const std::string& key, const std::string& value,
                 bool overwrite);
// Errors: FailedPrecondition: there is none.
Status remove_label(Labels& labels, std::string_view whose, const std::string& key);

}  // namespace holdfast::control
