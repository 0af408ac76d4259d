// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.wire

import com.fasterxml.jackson.databind.JsonNode

/**
 * What a worker says of its own speed: a client that is new need not find out anew.
 *
 * @param seconds that a batch is in its model
 * @param ageS how long ago the last one was answered
 */
private[wire] case class Told(seconds: Double, ageS: Double)

private[wire] object Told {

  /** What a greeting says, None if it says nothing. */
  def of(greeting: JsonNode): Option[Told] =
    Option(greeting.get("batch_us")).filter(_.isNumber).map { micros =>
      Told(micros.asLong / 1e6, greeting.path("batch_age_ms").asLong / 1e3)
    }
}
