//go:build !(linux && amd64)

package hvt

import (
	"fmt"
	"runtime"
)

// Run runs a guest until it halts, which is possible on Linux on amd64 only.
func Run(Options) (status int, err error) {
	return 0, fmt.Errorf("edgehvt runs on Linux on amd64 only so far, not on %s on %s; use solo5-hvt here", runtime.GOOS, runtime.GOARCH)
}
