// Prints what kstatus, by which Flux and kpt judge objects, computes of each object of a JSON array on standard
// input: a JSON array of {"status", "message"}.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	numbers "k8s.io/apimachinery/pkg/util/json" // whole numbers become int64, as kstatus wants them
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	given, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	var objects []any
	if err := numbers.Unmarshal(given, &objects); err != nil {
		return err
	}
	found := make([]map[string]string, 0, len(objects))
	for _, object := range objects {
		result, err := status.Compute(&unstructured.Unstructured{Object: object.(map[string]any)})
		if err != nil {
			return err
		}
		found = append(found, map[string]string{"status": string(result.Status), "message": result.Message})
	}
	return json.NewEncoder(os.Stdout).Encode(found)
}
