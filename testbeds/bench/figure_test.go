package main

import (
	"strings"
	"testing"
	"time"
)

func TestPercentile(t *testing.T) {
	hundred := make([]time.Duration, 100)
	for i := range hundred {
		hundred[i] = time.Duration(100 - i)
	}
	for _, c := range []struct {
		name   string
		values []time.Duration
		p      int
		want   time.Duration
	}{
		{"none", nil, 50, 0},
		{"one", []time.Duration{7}, 99, 7},
		{"best", hundred, 0, 1},
		{"median", hundred, 50, 50},
		{"median of three", []time.Duration{9, 1, 5}, 50, 5},
		{"99th", hundred, 99, 99},
		{"worst", hundred, 100, 100},
	} {
		if got := percentile(c.values, c.p); got != c.want {
			t.Errorf("%s: percentile %d is %d, want %d", c.name, c.p, got, c.want)
		}
	}
	if hundred[0] != 100 {
		t.Error("the values were reordered")
	}
}

func TestNumber(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.0145: "0.0145", 1: "1", 17.456: "17.5", 250: "250", 1190.4: "1190"} {
		if got := number(v); got != want {
			t.Errorf("number(%v) = %s, want %s", v, got, want)
		}
	}
}

func TestPrintTable(t *testing.T) {
	var b strings.Builder
	printTable(&b, []figure{
		median("fast", []time.Duration{time.Millisecond}, 25),
		atMost("large", 30, "MiB", 20).noted("with %d jobs", 3),
		{Name: "for information", Value: 5, Unit: "ms"},
		{Name: "docker", Note: "not measured: no daemon"},
	})
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	for i, want := range []string{
		"FIGURE MEASURED P99 TARGET NOTE",
		"fast 1 ms 1 ms ≤ 25 ms ok",
		"large 30 MiB ≤ 20 MiB MISSED with 3 jobs",
		"for information 5 ms",
		"docker - - not measured: no daemon",
	} {
		if i >= len(lines) || strings.Join(strings.Fields(lines[i]), " ") != want {
			t.Fatalf("line %d is not %q in:\n%s", i, want, b.String())
		}
	}
}
