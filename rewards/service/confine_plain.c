/* Without libseccomp system calls are not filtered; limits and closed descriptors remain. */
#include "confine.h"

const bool confine_filters = false;

enum cn_status confine_calls(void)
{
    return CN_OK;
}
