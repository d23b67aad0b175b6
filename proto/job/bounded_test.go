package job

import (
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestParseIsBounded feeds Parse the largest files of one pattern, in several
// places, and holds that none costs more than a small multiple of its size.
func TestParseIsBounded(t *testing.T) {
	const most = 192 << 20 // bytes allocated in all, most of them not at once
	patterns := []string{
		"[", "[\n", "- ", "- - -\n", "? ", "a: ", "a: |\n", "a\n", "'a'\n", "\"\" ", "[a,\n", "a,\n", "#\n", "| ", "---\n", "!a\n", "\t", "é",
	}
	for _, pattern := range patterns {
		for _, prefix := range []string{"", "args: ["} {
			input := []byte(prefix + strings.Repeat(pattern, (MaxFileSize-len(prefix))/len(pattern)))
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			start := time.Now()
			if _, err := Parse(input); err == nil {
				t.Errorf("%q after %q: no error", pattern, prefix)
			}
			took := time.Since(start)
			runtime.ReadMemStats(&after)
			// The time is generous: the race detector on a busy machine.
			if used := after.TotalAlloc - before.TotalAlloc; used > most || took > 10*time.Second {
				t.Errorf("%q after %q: %d MiB and %v", pattern, prefix, used>>20, took)
			}
		}
	}
}
