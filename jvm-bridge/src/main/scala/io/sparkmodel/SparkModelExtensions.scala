// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel

import org.apache.spark.sql.SparkSessionExtensions

/** What `spark.sql.extensions` names: puts the bridge into a session. */
class SparkModelExtensions extends (SparkSessionExtensions => Unit) {
  override def apply(extensions: SparkSessionExtensions): Unit = ()
}
