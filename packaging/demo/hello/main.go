// Command hello is the workload of the demo: a web server that says where it
// runs. It needs nothing, so the same file serves as a native job and as the
// only file of a container image.
package main

import (
	"fmt"
	"log"
	"net/http"
	"os"
)

func main() {
	port := os.Getenv("EDGEIO_PORT_HTTP")
	if port == "" {
		port = "8080"
	}
	host, err := os.Hostname()
	if err != nil {
		host = "somewhere"
	}
	log.SetOutput(os.Stdout)
	log.Printf("listening on port %s", port)
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		log.Printf("%s %s", r.Method, r.URL.Path)
		fmt.Fprintf(w, "Hello from %s on %s, run by edgeIO.\n", os.Getenv("HELLO_RUNTIME"), host)
	})
	log.Fatal(http.ListenAndServe(":"+port, nil))
}
