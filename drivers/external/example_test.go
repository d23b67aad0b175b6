package external_test

import (
	"context"
	"fmt"
	"os"

	"github.com/edgeio/edgeio/drivers/external"
	"github.com/edgeio/edgeio/drivers/fake"
)

// A driver program is its driver and a call of Serve.
func ExampleServe() {
	d := fake.New(fake.NewHost(nil))
	if err := external.Serve(context.Background(), d); err != nil {
		fmt.Println(err)
		return // a program exits with 1
	}
	os.Exit(0)
	// Output: this is a driver program for edgeagent, which starts it by itself: EDGEDRIVER_SOCKET is not set
}
