// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.models

import scala.jdk.CollectionConverters._

import com.fasterxml.jackson.databind.JsonNode
import com.fasterxml.jackson.databind.node.ObjectNode
import io.sparkmodel.call.{CallSettings, ModelAnalysisException, ModelFunction}
import io.sparkmodel.control.{Control, ControlClient, Json, Makers}
import io.sparkmodel.wire.{Handle, ModelException}
import org.apache.spark.sql.SparkSession
import org.apache.spark.sql.catalyst.expressions.Expression
import org.apache.spark.sql.sparkmodel.{CoreInternals, SqlInternals}

/** What the control service tells of a model. */
class Card(val json: JsonNode) {
  val name: String = json.required("name").asText
  private val text = json.required("handle").asText
  val handle: Handle = Handle.find(text.getBytes("UTF-8")).get

  def function: ModelFunction = {
    val command = json.path("command").asText("")
    if (command.isEmpty) ModelFunction.ofText(name, text, handle)
    else new ModelFunction(name, handle, CoreInternals.pythonFunction(
      java.util.Base64.getDecoder.decode(command),
      json.path("python").asText("python3"),
      json.path("python_version").asText("")))
  }
}

/** The models of this driver's control service, and who has called them. */
object Deployed {
  /** A model by name, as it is now. */
  final class Target(card: Card) {
    def function(session: SparkSession, settings: CallSettings): Seq[Expression] => Expression = {
      Users.note(session, card.name)
      ofCard(session, card, settings)
    }
  }

  /**
   * The model of a name.
   *
   * @param isCertain whether the name must be a model's; else it may be that of a function in the catalog
   */
  def find(session: SparkSession, name: String, isCertain: Boolean): Option[Target] =
    if (isIdle || !isCertain && SqlInternals.hasPersistentFunction(session, name)) None
    else
      try Some(card(name)).filter(found => isVisible(session, found.json)).map(new Target(_))
      catch {
        case error: ModelException if error.condition == "MODEL_NOT_FOUND" => None
        case error: ModelException => throw ModelAnalysisException.from(error)
      }

  /** Whether a session may see the model of a card: a temporary one belongs to the session that made it. */
  def isVisible(session: SparkSession, card: JsonNode): Boolean =
    !isTemporary(card) || card.path("statement").path("session").asText == SqlInternals.id(session)

  def isTemporary(card: JsonNode): Boolean = card.path("statement").path("temporary").asBoolean

  /** A model whose card is at hand. */
  def ofCard(session: SparkSession, card: Card, settings: CallSettings): ModelFunction =
    if (settings.isEmpty) card.function else withSettings(session, card.name, settings)

  /** A model that is a function of the session already, called with settings. */
  def ofFunction(
      session: SparkSession, function: ModelFunction, settings: CallSettings): Seq[Expression] => Expression = {
    if (!Control.isRunning) throw ModelAnalysisException(
      "INVALID_OPTION", s"Cannot use options in a call of model '${function.name}'",
      "it was taken from a handle, and no control service is at hand", "register the model in this session")
    withSettings(session, function.handle.name, settings).named(function.name)
  }

  /** Whether there can be no models: nobody has made one, and no cluster was named that may have some. */
  def isIdle: Boolean = !Control.isRunning && Makers.isEmpty && !Control.hasCluster

  def names: Seq[String] =
    if (isIdle) Nil
    else Control.call("list", ControlClient.body).required("models").elements.asScala.map(_.path("name").asText).toSeq

  private def card(name: String, settings: CallSettings = CallSettings()): Card = {
    val body = ControlClient.body.put("name", name)
    if (settings.params.nonEmpty) body.set[ObjectNode]("params", Json.of(settings.params))
    settings.onError.foreach(body.put("on_error", _))
    settings.timeoutS.foreach(body.put("timeout_s", _))
    settings.version.foreach(body.put("version", _))
    new Card(Control.call("card", body))
  }

  private def withSettings(session: SparkSession, name: String, settings: CallSettings): ModelFunction =
    try card(name, settings).function.named(name) // that of another version is a model of another name
    catch { case error: ModelException => throw ModelAnalysisException.from(error) }
}
