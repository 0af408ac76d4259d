// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel

import org.apache.spark.sql.SparkSessionExtensions

/** What `spark.sql.extensions` names: puts the bridge into a session, if the jar is built for its Spark. */
class SparkModelExtensions extends (SparkSessionExtensions => Unit) {
  override def apply(extensions: SparkSessionExtensions): Unit =
    if (BridgeVersion.check()) Injections.inject(extensions)
}

/** An object of its own: with another Spark its classes could not even be loaded. */
private object Injections {

  /** All that the bridge puts into a session. */
  def inject(extensions: SparkSessionExtensions): Unit = ()
}
