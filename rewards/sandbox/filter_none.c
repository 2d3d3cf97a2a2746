/* A build without libseccomp has no system call list, and so no isolation. */
#include "parts.h"

enum cn_status sandbox_filter(struct cn_str *out)
{
    (void)out;
    return cn_fail(CN_ERR_CONFIG, "this build has no sandbox: as root, apt-get install bubblewrap "
                                  "libseccomp-dev, then launch/setup -DCN_WITH_SANDBOX=ON");
}
