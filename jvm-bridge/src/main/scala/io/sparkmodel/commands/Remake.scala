// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.commands

import java.lang.ref.WeakReference

import com.fasterxml.jackson.databind.JsonNode
import com.fasterxml.jackson.databind.node.ObjectNode
import io.sparkmodel.call.ModelFunction
import io.sparkmodel.control.{ControlClient, Maker, Makers, TableSource}
import io.sparkmodel.models.Card
import org.apache.spark.sql.SparkSession
import org.apache.spark.sql.sparkmodel.SqlInternals

/** How a model is made, again if the control process that had it has died. */
private case class Remake(session: SparkSession, request: ObjectNode) {
  private def text(key: String): Option[String] = Option(request.get(key)).filterNot(_.isNull).map(_.asText)

  def send(call: (String, ObjectNode) => JsonNode): JsonNode =
    TableSource.within(session, text("using"), text("location"), request)(call("create", request))

  def keep(): Unit = {
    val again = request.deepCopy().put("if_not_exists", true).put("replace", false)
    val maker = new WeakReference(session) // nor does a model keep a session that has been closed
    Makers.remember(request.required("name").asText, new Maker(again) {
      override def make(client: ControlClient): Unit = {
        val owner = Option(maker.get)
        val card = new Card(Remake(owner.getOrElse(SparkSession.active), again).send(client.call(_, _)))
        owner.foreach { session =>
          SqlInternals.function(session, card.name) match { // of a pool that is gone
            case Some(_: ModelFunction) => SqlInternals.setFunction(session, card.name, card.function)
            case _ =>
          }
        }
      }
    })
  }
}
