// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.commands

import com.fasterxml.jackson.databind.node.ObjectNode
import io.sparkmodel.access.Access
import io.sparkmodel.call.{ModelAnalysisException, ModelFunction}
import io.sparkmodel.control.{Control, ControlClient, Json, Makers, TableSource}
import io.sparkmodel.models.{Card, LocalFunction, LocalModels}
import io.sparkmodel.parse.{
  AlterModel, Promote, Refresh, Rollback, ScaleTo, SetLocation, SetOptions, UnsetOptions}
import io.sparkmodel.wire.CallOptions
import org.apache.spark.sql.{Row, SparkSession}
import org.apache.spark.sql.sparkmodel.SqlInternals

case class AlterModelCommand(statement: AlterModel) extends ModelCommand {
  import statement.name

  private def local: Option[LocalFunction] = SparkSession.getActiveSession.flatMap(LocalModels.find(_, name))

  override protected def authorize(): Unit = {
    Access.checkDdl("alter", name)
    statement.action match {
      case SetOptions(options) => Access.checkOptions("alter", name, options.map(_._1))
      case _ =>
    }
  }

  override protected def checkOptions(): Unit = statement.action match {
    case _ if local.isDefined =>
    case SetLocation(_, options) if options.nonEmpty =>
      Control.call("check", ControlClient.body.set("rollout", Json.of(options.toMap)))
    case SetOptions(options) => Control.call("check", ControlClient.body.set("options", Json.of(options.toMap)))
    case UnsetOptions(keys) => Control.call("check", ControlClient.body.set("keys", Json.of(keys)))
    case _ =>
  }

  override protected def perform(session: SparkSession): Seq[Row] = {
    LocalModels.find(session, name).fold(performInPool(session))(performHere(session, _))
  }

  /** Of a model without a pool, which is made anew. */
  private def performHere(session: SparkSession, function: LocalFunction): Seq[Row] = {
    val made = function.statement
    val changed = statement.action match {
      case SetLocation(location, Nil) => made.copy(location = Some(location))
      case SetLocation(_, options) => throw ModelAnalysisException(
          "INVALID_OPTION", s"Cannot use option '${options.head._1}'",
          s"model '$name' is evaluated without a pool: all queries have the new location at once", "leave it out")
      case SetOptions(options) =>
        val kept = made.options.filterNot { case (key, _) => options.exists(_._1.equalsIgnoreCase(key)) }
        made.copy(options = kept ++ options)
      case UnsetOptions(keys) =>
        made.copy(options = made.options.filterNot { case (key, _) => keys.exists(_.equalsIgnoreCase(key)) })
      case Refresh => made
      case _ => throw ModelAnalysisException(
          "UNSUPPORTED_SOURCE", s"Cannot alter model '$name'", "it is evaluated without a pool",
          "SET LOCATION, SET OPTIONS, UNSET OPTIONS and REFRESH are what it has")
    }
    CreateModelCommand(changed.copy(replace = true, ifNotExists = false)).run(session)
  }

  private def performInPool(session: SparkSession): Seq[Row] = {
    val card = visible(session, "card", "alter", name)
    val body = ControlClient.body
    statement.action match {
      case SetLocation(location, options) =>
        val using = Option(card.path("statement").path("using").asText(null)).filter(_ != "null")
        Access.checkLocation("alter", name, using, location)
        body.put("action", "location").put("location", location)
        body.set[ObjectNode]("rollout", Json.of(options.toMap))
        TableSource.within(session, using, Some(location), body)(ask("alter", "alter", name, body))
      case SetOptions(options) =>
        body.put("action", "options").set[ObjectNode]("options", Json.of(options.toMap))
        ask("alter", "alter", name, body)
      case UnsetOptions(keys) =>
        body.put("action", "unset").set[ObjectNode]("keys", Json.of(keys))
        ask("alter", "alter", name, body)
      case ScaleTo(least, most) =>
        val workers = if (least == most) s"$most" else s"$least..$most"
        ask("alter", "alter", name, body.put("action", "scale").put("workers", workers))
      case Refresh => ask("alter", "alter", name, body.put("action", "refresh"))
      case Promote => ask("alter", "alter", name, body.put("action", "promote"))
      case Rollback(to) =>
        to.foreach(body.put("to", _))
        ask("alter", "alter", name, body.put("action", "rollback"))
    }
    val after = ask("card", "alter", name)
    Makers.follow(name, after)
    follow(session, new Card(after))
    Nil
  }

  /**
   * A temporary model is a function of its session. One that stays what it was would find what Spark has cached of it.
   * Those with options of their own are Python's, which has seen to them.
   */
  private def follow(session: SparkSession, card: Card): Unit = SqlInternals.function(session, name) match {
    case Some(function: ModelFunction)
        if function.handle.pool.poolId == card.handle.pool.poolId && function.handle.call.told.copy(source = "") == CallOptions() =>
      SqlInternals.setFunction(session, name, card.function)
    case _ =>
  }
}
